"""What goes wrong in a page without anybody seeing it: console errors, forbidden content, failed requests."""

import re

from playwright.sync_api import BrowserContext, ConsoleMessage, Request

REPORT_VIOLATIONS = """
document.addEventListener("securitypolicyviolation", (event) =>
    console.error(`Content-Security-Policy: ${event.violatedDirective} forbids ${event.blockedURI}`));
"""
LEFT_BY_THE_PAGE = "net::ERR_ABORTED"
"""A request that the page itself gave up: a question cancelled, say."""


class Troubles:
    """Everything that went wrong in a context's pages; what a test causes on purpose is expected first."""

    def __init__(self) -> None:
        self.found: list[str] = []
        self._expected: list[re.Pattern[str]] = []

    def expect(self, *patterns: str) -> None:
        """Pass over troubles that contain one of these regular expressions."""
        self._expected += [re.compile(pattern) for pattern in patterns]

    @property
    def unexpected(self) -> list[str]:
        return [line for line in self.found if not any(each.search(line) for each in self._expected)]

    def watch(self, context: BrowserContext) -> None:
        context.add_init_script(REPORT_VIOLATIONS)
        context.on("console", self._heard)
        context.on("weberror", lambda error: self.found.append(f"uncaught: {error.error}"))
        context.on("requestfailed", self._failed)

    def _heard(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.found.append(f"console {message.type}: {message.text} ({message.location.get('url')})")

    def _failed(self, request: Request) -> None:
        if request.failure != LEFT_BY_THE_PAGE:
            self.found.append(f"request failed: {request.method} {request.url}: {request.failure}")
