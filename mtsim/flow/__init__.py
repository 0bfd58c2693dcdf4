"""Where background messages come from: flows that know no tokens. Below worlds and models."""
