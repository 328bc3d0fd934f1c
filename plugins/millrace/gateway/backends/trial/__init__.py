"""The built-in trial model: MiniLM similarity picks sentences of the prompt, and quotes them.

It needs no download and writes no word of its own. It says so in its name and on its page.
"""
