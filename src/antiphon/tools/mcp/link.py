"""The way to a server, with the session that is open on it: opened when it is needed, and again when it is lost."""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, TypeVar

from antiphon.errors import ToolServerError
from antiphon.tools.egress import EgressPolicy
from antiphon.tools.mcp.failures import Answered, Refusal, Secrets, Unanswered, in_words, origin_of

if TYPE_CHECKING:
    from mcp.client.session import ClientSession

    from antiphon.tools.mcp.session import Session
    from antiphon.tools.mcp.transports import Http, Process

T = TypeVar("T")

UNKNOWN_OUTCOME = "Whether it had an effect is not known."
_MAX_COMPLAINT = 300


class Link:
    """Asks questions of a server behind ``url``, or of one that is a command of ours.

    What it says of failures is in the server's words, with ``***`` for every secret: values of headers and of ``env``,
    the query of the URL, long segments of its path.
    """

    def __init__(
        self,
        label: str,
        *,
        url: str | None,
        headers: Mapping[str, str],
        command: str | None,
        args: Sequence[str],
        env: Mapping[str, str],
        cwd: str | None,
        connect_timeout_s: float,
        policy: EgressPolicy | None,
    ) -> None:
        self.label = label
        self.where = origin_of(url) if url is not None else f"the command {command!r}"
        self._url, self._headers, self._policy = url, headers, policy
        self._command, self._args, self._env, self._cwd = command, args, env, cwd
        self._connect_timeout_s = connect_timeout_s
        self._secrets = Secrets(url=url, headers=headers, env=env)
        self._way: Http | Process | None = None
        self._current: Session | None = None

    async def ask(self, question: Callable[[ClientSession], Awaitable[T]], *, may_repeat: bool) -> T:
        """The answer to a question. It is asked again, once, if the first time it was not looked at; and if nobody
        knows what became of it, where it may be repeated.

        Raises:
            Answered: the server answered with an error; in its words.
            ToolServerError: it cannot be reached, or did not answer.
        """
        # The package takes a second to load: in a thread, so that nothing else stands still.
        asking = await asyncio.to_thread(importlib.import_module, "antiphon.tools.mcp.asking")
        is_second = False
        while True:
            session = self._session()
            try:
                answer: T = await asking.ask(session, question)
                return answer
            except Answered as error:
                raise Answered(self._secrets.cover(str(error))) from None
            except Unanswered as error:
                if error.is_lost:
                    session.end()
                if is_second or not (error.outcome == "none" or (error.outcome == "unknown" and may_repeat)):
                    note = f" {UNKNOWN_OUTCOME}" if error.outcome == "unknown" and not may_repeat else ""
                    raise self._failure(error, error.refusal, note) from error
                is_second = True
            except Exception as error:
                raise self._failure(error, self._way.refusal if self._way else None) from error

    async def close(self) -> None:
        """End the session, if there is one; the next question opens another."""
        current, self._current = self._current, None
        if current is not None and current.loop is asyncio.get_running_loop():
            await current.close()

    def _session(self) -> Session:
        """The session that is open or being opened. One of another event loop has ended with it."""
        from antiphon.tools.mcp.session import Session

        current = self._current
        if current is None or current.is_over or current.loop is not asyncio.get_running_loop():
            way = self._way = self._way or self._new_way()
            current = self._current = Session(way.open, grace_s=way.grace_s)
        return current

    def _new_way(self) -> Http | Process:
        from antiphon.tools.mcp.transports import Http, Process

        limit_s = self._connect_timeout_s
        if self._url is not None:
            return Http(self._url, headers=self._headers, policy=self._policy, connect_timeout_s=limit_s)
        return Process(self._command or "", self._args, env=self._env, cwd=self._cwd, connect_timeout_s=limit_s)

    def _failure(self, error: BaseException, refusal: Refusal | None, note: str = "") -> ToolServerError:
        words = f"{self.where} {in_words(error, refusal)}{note}"
        if self._way is not None and (complaint := self._way.complaint.strip()):
            words += f" It wrote: {complaint[-_MAX_COMPLAINT:]}"
        return ToolServerError(self.label, self._secrets.cover(words), status=refusal.status if refusal else None)
