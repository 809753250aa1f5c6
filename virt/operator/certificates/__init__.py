"""The CA of the installation and the certificates that it signs: when each is renewed (plan), and how (issue)."""
