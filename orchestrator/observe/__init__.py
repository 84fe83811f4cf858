"""What other software is told of runs: spans, figures, logs. All of it subscribes (`orchestrator/subscribers.py`)."""
