"""Responses requests and items become chat requests, and names find their way back. Pure.

Reversible or disclosed: what the upstream cannot take is mapped back on the way out (tool names, namespaces, freeform
tools), or dropped with a `Diagnostic`; never silently.
"""

from antiphon.translation.call import ChatCall
from antiphon.translation.chat import to_chat

__all__ = ["ChatCall", "to_chat"]
