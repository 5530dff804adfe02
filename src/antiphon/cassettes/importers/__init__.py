"""One module for each foreign recording format: the parsed document in, interactions out. No files, no sniffing.

A module describes its format as Structs and converts into them, so that a document of the wrong shape is refused with
the path of what is wrong. Each says in its docstring which fidelity it can give.
"""
