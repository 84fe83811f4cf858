"""All pages of the dashboard, in the order of the navigation."""

from __future__ import annotations

from orchestrator.server.pages.approvals import approvals_act, approvals_values
from orchestrator.server.pages.chat import chat_act, chat_values, chats_act, chats_values
from orchestrator.server.pages.cluster import cluster_values
from orchestrator.server.pages.costs import costs_values
from orchestrator.server.pages.decisions import decision_runs_values, decisions_values
from orchestrator.server.pages.load import load_values
from orchestrator.server.pages.memory import memory_values
from orchestrator.server.pages.new_run import new_run_act, new_run_values
from orchestrator.server.pages.now import now_values
from orchestrator.server.pages.page import Page
from orchestrator.server.pages.providers import providers_values
from orchestrator.server.pages.rebalancing import rebalance_act, rebalancing_values
from orchestrator.server.pages.run_events import run_events_values
from orchestrator.server.pages.run_page import run_act, run_values
from orchestrator.server.pages.runs import runs_values
from orchestrator.server.pages.settings import settings_values

PAGES = (
    Page(name="now", path="/", values=now_values, label="Now"),
    Page(name="runs", path="/runs", values=runs_values, label="Runs"),
    Page(name="new_run", path="/new-run", values=new_run_values, act=new_run_act, under="/runs", is_live=False),
    Page(name="run", path="/runs/{run}", values=run_values, act=run_act, under="/runs"),
    Page(name="run_events", path="/runs/{run}/events", values=run_events_values, under="/runs", is_live=False),
    Page(name="approvals", path="/approvals", values=approvals_values, act=approvals_act, label="Approvals"),
    Page(name="chats", path="/chat", values=chats_values, act=chats_act, label="Chat"),
    Page(name="chat", path="/chat/{chat}", values=chat_values, act=chat_act, under="/chat"),
    Page(name="providers", path="/providers", values=providers_values, label="Providers"),
    Page(name="load", path="/load", values=load_values, label="Load"),
    Page(
        name="rebalance",
        path="/load/rebalance",
        values=rebalancing_values,
        act=rebalance_act,
        under="/load",
        is_live=False,
    ),
    Page(name="cluster", path="/cluster", values=cluster_values, label="Cluster"),
    Page(name="costs", path="/costs", values=costs_values, label="Costs"),
    Page(name="decision_runs", path="/decisions", values=decision_runs_values, label="Decisions"),
    Page(name="decisions", path="/decisions/{run}", values=decisions_values, under="/decisions"),
    Page(name="memory", path="/memory", values=memory_values, label="Memory", is_live=False),
    Page(name="settings", path="/settings", values=settings_values, label="Settings", is_live=False),
)
