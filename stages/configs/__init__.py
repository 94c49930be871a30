"""The options of every stage. The command line and run.json are made from these; none of them imports torch.

The docstring of a configuration is the help of its command.
"""
