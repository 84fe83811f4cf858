"""The dashboard: pages made on the server, which a small script of our own keeps up to date over one stream a tab."""
