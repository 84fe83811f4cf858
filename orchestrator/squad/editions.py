"""The editions of the rules by which runs go: what a new release asks and tells otherwise than an older one."""

EDITION = 4
"""Which of its rules a release puts to work in a new run. A run keeps the edition that its record names, so that what
is asked and told of it stays the same when a later release resumes or replays it.

1: what was begun before editions were recorded. 2: a moderator closes its conversation; control lines are stripped
and read in any dress; outputs have a transcript; agents' fields and schemas are rendered; an unnamed persona is
called like its agent; an agent's last turn offers no tools; JSON is read from the text around it; a `for_each` hands
its list to no element that does not name it in `context`; what a description quotes is not in the context as well; a
text is read as yes or no in a condition, where it is the whole of it or an operand of `not`, `and`, `or`, `if`; an
exhausted `repeat` with `continue_on_error` keeps its last attempt. 3: what agents at work need (tools that are told by
their risk, memory, guardrails); an agent with a title or role of its own has no name and no habits of a persona of the
library; an utterance that imitates others is heard inside a fence, and its lines are quoted in a transcript; what a
docstring says of a parameter is in its tool's schema; a tool's call that only repeats is not made, and a turn makes so
many at the most; a request that nobody takes whole is cut, a history or a context that nears what the model takes is
summarised; what others wrote is read inside a fence, and who has read it, or was chosen by it, needs leave for risky
tools. 4: a task that runs again after `revise` reads what it had made, too; what asks for the value of a
conversation has one heading for its task; a moderator's conclusion stands once in the file of a conversation, and in
what asks for its value; a line for each rule that changes what an old squad would be asked or told.
"""
