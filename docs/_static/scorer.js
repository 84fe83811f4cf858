// Which pages of the search come first: those that explain a word before those that list it. Sphinx reads this file into
// its own search (`html_search_scorer`); the numbers below `score` are Sphinx's own.
var Scorer = {
  score: ([page, , , , score]) => {
    const room = page.split("/")[0];
    return score + ({ start: 2, concepts: 3, guides: 3, recipes: 1, comparisons: -1, troubleshooting: 1, reference: 0 }[room] ?? -3);
  },
  objNameMatch: 11,
  objPartialMatch: 6,
  objPrio: { 0: 15, 1: 5, 2: -5 },
  objPrioDefault: 0,
  title: 15,
  partialTitle: 7,
  term: 5,
  partialTerm: 2,
};
