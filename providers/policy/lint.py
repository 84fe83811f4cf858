"""Which rules of a policy have no effect: rules without means, rules that are never read, empty choices."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from math import inf

from providers.documents.addresses import wrong_address
from providers.documents.findings import Findings
from providers.documents.problems import Path, nearest
from providers.policy.names import KnownNames
from providers.policy.shapes import AgentShape, BudgetShape, PolicyShape
from providers.windows import knows_timezone

_DEAD = "no-effect"


def report_dead_rules(shape: PolicyShape, known: KnownNames, own_tiers: Collection[str]) -> None:
    """Report what in `shape` cannot have the effect that was meant. `own_tiers` are those that the file defines."""
    findings = known.findings
    _check_means(shape, findings)
    for path, agent in _agents(shape):
        _check_agent(shape, agent, path, findings)
    _check_order(shape, findings)
    _check_attempts(shape, findings)
    _check_weights(shape, findings)
    _check_only(shape, known)
    _check_left_over(shape, findings, own_tiers)
    _check_checks(shape, known)
    _check_budget(shape.budget, findings)


def _agents(shape: PolicyShape) -> Iterator[tuple[Path, AgentShape]]:
    """Yield what the file says of agents, with its place."""
    if shape.default is not None:
        yield ("default",), shape.default
    yield from ((("agents", name), agent) for name, agent in shape.agents.items())


def _check_means(shape: PolicyShape, findings: Findings) -> None:
    """Report a strategy that has nothing to work with, and an address that is none."""
    if shape.strategy == "weighted" and not any(shape.weights.values()):
        message = "the strategy weighted needs a provider whose weight is over 0"
        findings.error(("weights",), "missing-field", message, key=True)
    if shape.strategy == "chain" and not any(agent.chain for _, agent in _agents(shape)):
        hint = "give one to default or to an agent"
        findings.error(("strategy",), "missing-field", "the strategy chain needs a chain", hint)
    if shape.default and not (shape.default.tier or shape.default.chain or shape.default.model):
        findings.lacks(("default",), "one-of", "default needs a tier, a model or a chain")
    if shape.ledger is not None and (wrong := wrong_address(shape.ledger, in_file=True)):
        findings.error(("ledger",), "bad-address", f"'ledger' {wrong}")


def _check_agent(shape: PolicyShape, agent: AgentShape, path: Path, findings: Findings) -> None:
    """Report what of an agent's routing is never read, and a task type that looks like a misspelt one."""
    for key, first in (("tier", "chain"), ("tier", "model"), ("chain", "model")):
        if getattr(agent, key) and getattr(agent, first):
            message = f"'{key}' is never read: the {first} next to it counts"
            findings.error((*path, key), _DEAD, message, key=True)
    affinity: Path = ("affinity", path[-1])
    is_routed = path[0] == "agents" and (agent.chain or agent.tier or agent.model)
    if is_routed and findings.node.at(affinity) is not None:
        message = f"the affinity of '{path[-1]}' is never read: agents.{path[-1]} comes first"
        findings.error(affinity, _DEAD, message)
    if agent.task_type not in (None, *shape.task_types):
        like = nearest(str(agent.task_type), shape.task_types)
        if like.startswith("did you mean"):  # any other type of task may be a caller's own
            message = f"no task type is called '{agent.task_type}'"
            findings.error((*path, "task_type"), "unknown-task-type", message, like)


def _check_order(shape: PolicyShape, findings: Findings) -> None:
    """Report what a tier that stands before it, or a shorter timeout, keeps from being reached."""
    last_resort = shape.last_resort or []
    for at, tier in enumerate(last_resort):
        if tier in last_resort[:at]:
            findings.error(("last_resort", at), _DEAD, f"'{tier}' is never reached: it comes before")
    limits = shape.timeouts.given()
    for phase in ("connect", "first_token", "between_chunks"):
        if limits.get(phase, 0) > limits.get("total", inf):
            findings.error(("timeouts", phase), _DEAD, f"'{phase}' is never reached: total is less")


def _check_attempts(shape: PolicyShape, findings: Findings) -> None:
    hedge, total = shape.attempts.hedge_after, shape.timeouts.given().get("total", inf)
    if hedge is not None and hedge >= total:
        message = "'hedge_after' is never reached: the total of timeouts is not more"
        findings.error(("attempts", "hedge_after"), _DEAD, message)
    if hedge is not None and shape.attempts.per_turn == 1:
        message = "'hedge_after' is never read: per_turn allows no second attempt"
        findings.error(("attempts", "hedge_after"), _DEAD, message)
    if shape.stream.on_break != "error" and shape.attempts.per_turn == 1:
        message = "'on_break' is never read: attempts.per_turn allows no second attempt"
        findings.error(("stream", "on_break"), _DEAD, message)


def _check_weights(shape: PolicyShape, findings: Findings) -> None:
    never = {name for name, weight in shape.weights.items() if weight == 0}
    for tier, names in shape.tiers.items() if shape.strategy == "weighted" else ():
        if names and all(name.partition("/")[0] in never for name in names):
            message = f"no model of the tier '{tier}' is ever asked: the weight of each of its providers is 0"
            findings.error(("tiers", tier), _DEAD, message, key=True)


def _check_only(shape: PolicyShape, known: KnownNames) -> None:
    """Report lists of providers, by environment, that are never read, or that leave no provider to be asked."""
    named = [name for names in shape.tiers.values() for name in names]
    named += [name for _, agent in _agents(shape) for _, names in _asked(agent) for name in names]
    for where, names in shape.only.items():
        path = ("only", where)
        if shape.environment not in (where, "auto"):
            message = f"'{where}' is never read: the environment is {shape.environment}"
            known.findings.error(path, _DEAD, message, key=True)
        elif all(map(known.is_provider, names)) and not {name.partition("/")[0] for name in named} & set(names):
            message = "no provider is left to be asked: no tier, chain or model names any of these"
            known.findings.error(path, _DEAD, message, key=True)
        _check_twice(names, path, known.findings)


def _check_left_over(shape: PolicyShape, findings: Findings, own_tiers: Collection[str]) -> None:
    """Report the tiers, chains and models of the file none of whose providers may be asked in its environment."""
    allowed = shape.only.get(shape.environment) if shape.environment != "auto" else None
    if allowed is None:
        return
    routes: list[tuple[Path, list[str]]] = [(("tiers", tier), shape.tiers[tier]) for tier in own_tiers]
    routes += [((*path, key), names) for path, agent in _agents(shape) for key, names in _asked(agent)]
    for path, names in routes:
        if not {name.partition("/")[0] for name in names} & set(allowed):
            message = f"no model of this is ever asked: in {shape.environment} only {', '.join(allowed)} may be"
            findings.error(path, _DEAD, message, key=True)


def _asked(agent: AgentShape) -> Iterator[tuple[str, list[str]]]:
    """Yield the names of candidates in an agent's routing, under the field that they stand in."""
    if names := [name for _, name in agent.members()]:
        yield "chain", names
    if agent.model is not None:
        yield "model", [agent.model]


def _check_checks(shape: PolicyShape, known: KnownNames) -> None:
    """Report providers that cannot be checked."""
    names, path = shape.checks.providers if shape.checks else [], ("checks", "providers")
    for at, name in enumerate(names):
        row = known.catalog.providers.get(name)
        if row is not None and not row.base_url:
            message = f"{name} answers in this process: there is nothing to check"
            known.findings.error((*path, at), _DEAD, message)
    _check_twice(names, path, known.findings)


def _check_twice(names: list[str], path: Path, findings: Findings) -> None:
    for at, name in enumerate(names):
        if name in names[:at]:
            findings.error((*path, at), "duplicate-name", f"'{name}' is listed twice")


def _check_budget(shape: BudgetShape, findings: Findings) -> None:
    if not knows_timezone(shape.timezone):
        message = f"no timezone is called {shape.timezone!r}"
        findings.error(("budget", "timezone"), "invalid-value", message, "write one as Europe/Berlin")
    most = inf if shape.max_cost_per_day is None else shape.max_cost_per_day
    for name, cap in shape.providers.items():
        if cap > most:
            message = f"the cap of {name} is never reached: max_cost_per_day is less"
            findings.error(("budget", "providers", name), _DEAD, message)
    for name, cap in shape.models.items():
        if cap > min(most, shape.providers.get(name.partition("/")[0], inf)):
            message = f"the cap of {name} is never reached: the provider's cap, or that of the day, is less"
            findings.error(("budget", "models", name), _DEAD, message)
    if shape.webhook_env is not None and most == inf and not shape.providers and not shape.models:
        message = "'webhook_env' is never read: there is no cap, so there are no alerts"
        findings.error(("budget", "webhook_env"), _DEAD, message, key=True)
    if shape.webhook_secret_env is not None and shape.webhook_env is None:
        message = "'webhook_secret_env' is never read: there is no 'webhook_env', so no alert is posted"
        findings.error(("budget", "webhook_secret_env"), _DEAD, message, key=True)
    if 0 in shape.alert_at:
        path = ("budget", "alert_at", shape.alert_at.index(0))
        findings.error(path, "out-of-range", "an alert at 0% would come before anything is spent")
