"""What a run of a squad would take: its turns, and a scenario for the simulator."""
