"""The command line, the only part that prints: `app` is the frame, `verbs` has one file each."""
