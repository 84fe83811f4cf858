"""The user's routing file, `agent_routing.yaml`: which providers an agent asks, checked against the catalog."""
