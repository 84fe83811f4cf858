"""Which requests the personas of the library are for, by the words that people use: for choosing one, never sent."""

from __future__ import annotations

from collections.abc import Mapping

KEYWORDS: Mapping[str, str] = {
    "analyst": "requirements stakeholders problem brief business case interview market needs",
    "architect": "architecture design system components scalability trade-offs technology stack interfaces migration",
    "code-reviewer": "review code pull request diff merge change patch commit",
    "critic": "criticise critique weaknesses objections what is wrong with find flaws feedback argument",
    "data-analyst": "data csv table figures numbers statistics trend average chart percent sales report weekly",
    "dev": "implement code function bug fix program script python javascript refactor test error traceback write a",
    "editor": "edit proofread correct grammar spelling style improve rewrite polish wording shorten text",
    "judge": "judge decide which is better score rate compare verdict choose winner evaluate",
    "planner": "plan schedule steps milestones roadmap break down tasks timeline organise prepare event week",
    "pm": "product requirements prd feature prioritise user stories goals success measures mvp launch",
    "researcher": "research find out sources evidence literature what is known investigate facts look up study",
    "security-reviewer": "security vulnerability threat attack injection secrets authentication exploit hardening",
    "sm": "sprint scrum backlog standup retrospective story points ceremony refine stories",
    "summariser": "summarise summary summarize tl;dr short version key points condense abstract recap",
    "support-agent": "customer ticket refund order complaint help account login not working invoice support reply",
    "tea": "test tests testing coverage quality strategy test plan regression qa cases",
    "tech-writer": "documentation docs readme manual how-to guide api reference changelog tutorial",
    "translator": "translate translation into from french german spanish english japanese chinese italian language",
    "ux-designer": "ux ui usability wireframe user interface flow screen accessibility prototype user experience",
    "writer": "write story poem blog post article letter email speech slogan essay novel creative",
}
