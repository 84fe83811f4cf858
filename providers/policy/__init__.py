"""The user's routing file, `agent_routing.yaml`: who answers whom, checked against the catalog."""
