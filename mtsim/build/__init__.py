"""Where everything meets: what a scenario names is built here, and flows are fitted to sessions."""
