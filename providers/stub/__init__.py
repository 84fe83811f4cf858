"""The offline stub and scripted answers: no model is asked, and every text says so."""
