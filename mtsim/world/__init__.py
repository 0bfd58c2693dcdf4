"""The closed loop: books, a flow, agents' messages and accounts under one clock."""
