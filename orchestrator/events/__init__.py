"""What a run lets others see, and what its state is folded from.

A payload says what happened; an `Event` says where and when. Ids are made of (run, place, turn, sequence), so a replay
that emits again is recognised, not shown twice. Payloads of the lower rooms travel in the same envelope.
"""

from orchestrator.events.conversations import (
    ChatPartner,
    ControlUnread,
    ConversationEnded,
    EndKind,
    ExchangesUndone,
    MessageSpoken,
    UserSaid,
)
from orchestrator.events.envelope import Event, to_json
from orchestrator.events.files import ArtifactWritten, FileKept, FileUnwritten, FileWritten
from orchestrator.events.questions import AnswerOverruled, GateAnswered, GateOpened, question_name
from orchestrator.events.runs import (
    BudgetReached,
    CallRepeated,
    CallsCutShort,
    RoutingReread,
    RunEdited,
    RunFinished,
    RunForked,
    RunResumed,
    RunStarted,
)
from orchestrator.events.tasks import (
    AgentChosen,
    CaseChosen,
    CutText,
    ElementEnded,
    ElementStarted,
    RunStatus,
    TaskEnded,
    TaskExpanded,
    TaskParked,
    TaskRepeated,
    TaskReset,
    TaskResumed,
    TaskRetried,
    TaskStarted,
    TaskStatus,
)

__all__ = [
    "AgentChosen",
    "AnswerOverruled",
    "ArtifactWritten",
    "BudgetReached",
    "CallRepeated",
    "CallsCutShort",
    "CaseChosen",
    "ChatPartner",
    "ControlUnread",
    "ConversationEnded",
    "CutText",
    "ElementEnded",
    "ElementStarted",
    "EndKind",
    "Event",
    "ExchangesUndone",
    "FileKept",
    "FileUnwritten",
    "FileWritten",
    "GateAnswered",
    "GateOpened",
    "MessageSpoken",
    "RoutingReread",
    "RunEdited",
    "RunFinished",
    "RunForked",
    "RunResumed",
    "RunStarted",
    "RunStatus",
    "TaskEnded",
    "TaskExpanded",
    "TaskParked",
    "TaskRepeated",
    "TaskReset",
    "TaskResumed",
    "TaskRetried",
    "TaskStarted",
    "TaskStatus",
    "UserSaid",
    "question_name",
    "to_json",
]
