"""A recorded run by subject, each a pure fold of its events: tasks, timeline, conversations, calls, money, warnings."""
