"""Looks at pages of a dashboard, as a visitor with some grants, without a server in between."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from html.parser import HTMLParser
from typing import Any
from urllib.parse import parse_qsl, urlencode

import httpx

from torrelque.dashboard import GRANTS, Dashboard, Visitor

BASE = 'http://queues.test'
FOREIGN = '<script>alert(1)</script>"\'><img src=x onerror=alert(1)>'
"""A text of somebody who wants to have a page do something."""

_EMPTY = {'br', 'hr', 'img', 'input', 'link', 'meta', 'source', 'wbr'}


class Element:
    """An element of a page, with what is in it."""

    def __init__(self, tag: str, attrs: Mapping[str, str]) -> None:
        self.tag = tag
        self.attrs = attrs
        self.inside: list[Element] = []
        self.texts: list[str] = []

    @property
    def text(self) -> str:
        """What is read in it, with single spaces."""
        return ' '.join(''.join(self.texts).split())

    def all(self, tag: str | None = None, **attrs: str) -> list[Element]:
        """The elements in it of a tag, with these attributes; of ``class_`` one word."""
        return [one for one in self.inside if tag in (None, one.tag) and all(map(one._has, attrs.items()))]

    def one(self, tag: str | None = None, **attrs: str) -> Element:
        """The only one."""
        [found] = self.all(tag, **attrs)
        return found

    def _has(self, pair: tuple[str, str]) -> bool:
        name, value = pair
        given = self.attrs.get(name.rstrip('_').replace('_', '-'))
        return given is not None and (value in given.split() if name == 'class_' else value == given)


class Html(HTMLParser, Element):
    """A page."""

    def __init__(self, source: str) -> None:
        HTMLParser.__init__(self)
        Element.__init__(self, '', {})
        self.source = source
        self._open: list[Element] = [self]
        self.feed(source)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        element = Element(tag, {name: value or '' for name, value in attrs})
        for one in self._open:
            one.inside.append(element)
        if tag not in _EMPTY:
            self._open.append(element)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in _EMPTY:
            self.handle_endtag(tag)

    def handle_endtag(self, tag: str) -> None:
        at = next((at for at in reversed(range(1, len(self._open))) if self._open[at].tag == tag), None)
        if at is not None:
            del self._open[at:]

    def handle_data(self, data: str) -> None:
        # The source of a script is nothing that is read.
        for one in () if self._open[-1].tag in ('script', 'style') else self._open:
            one.texts.append(data)

    @property
    def links(self) -> dict[str, str]:
        """Where links lead, by their texts."""
        return {one.text: one.attrs.get('href', '') for one in self.all('a')}

    @property
    def fields(self) -> dict[str, str]:
        """What a form that is posted says, if nothing is changed in it."""
        form = next(one for one in self.all('form') if one.attrs.get('method') == 'post')
        inputs = [one for one in form.all('input') if one.attrs.get('type') not in ('submit', 'button')]
        found = {
            one.attrs['name']: one.attrs.get('value', 'on')
            for one in inputs
            if 'name' in one.attrs
            and (one.attrs.get('type') not in ('checkbox', 'radio') or 'checked' in one.attrs)
        }
        for one in form.all('select'):
            options = one.all('option')
            chosen = [option for option in options if 'selected' in option.attrs] or options[:1]
            found[one.attrs['name']] = chosen[0].attrs.get('value', chosen[0].text) if chosen else ''
        return {**found, **{one.attrs['name']: one.text for one in form.all('textarea')}}

    def check_harmless(self) -> None:
        """Nothing in it is a text of somebody that has become part of the page."""
        for one in self.inside:
            assert one.tag != 'script' or one.attrs.get('src', '').startswith('./live.'), one.attrs
            assert one.tag not in ('img', 'iframe', 'object', 'embed', 'base'), (one.tag, one.attrs)
            assert not [name for name in one.attrs if name.startswith('on') or name == 'style'], (one.tag, one.attrs)
            for name in ('href', 'action', 'src', 'formaction'):
                value = one.attrs.get(name, './').strip()
                assert value == '' or value.startswith(('./', '#', 'https://')), (one.tag, value)


COMING = 'It is being looked at, and comes in a moment.'


class Look:
    """A visitor of a dashboard.  As the context of a block it closes the dashboard at its end.

    :param queues: of the dashboard.
    :param allow: grants of the visitor; 'all' is each of them.
    :param options: of the dashboard.
    """

    def __init__(self, queues: Any, *allow: str, name: str = 'anna', **options: Any) -> None:
        self.visitor = Visitor(name, GRANTS if allow == ('all',) else allow)
        self.dashboard = Dashboard(queues, permit=lambda _: self.visitor, **options)
        self.client = httpx.AsyncClient(transport=httpx.ASGITransport(self.dashboard), base_url=BASE)

    async def __aenter__(self) -> Look:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.client.aclose()
        await self.dashboard.aclose()

    async def get(self, page: str = '', code: int = 200, /, **query: Any) -> Html:
        """A page, by its name and query, or by its relative address; it has to be answered by this status.

        What a busy machine takes long to look at is waited for.
        """
        response = await self.ask('GET', page, query)
        while COMING in response.text:
            await asyncio.sleep(0.01)
            response = await self.ask('GET', page, query)
        assert response.status_code == code, (response.status_code, Html(response.text).text)
        assert response.headers['content-type'] == 'text/html; charset=utf-8'
        html = Html(response.text)
        html.check_harmless()
        return html

    async def json(self, page: str = '', code: int = 200, /, **query: Any) -> Any:
        """The JSON of a page."""
        response = await self.ask('GET', page, query, {'accept': 'application/json'})
        assert response.status_code == code, (response.status_code, response.text)
        return json.loads(response.text)

    async def post(
        self, query: Mapping[str, Any], form: Mapping[str, Any] | None = None, headers: Mapping[str, str] | None = None
    ) -> httpx.Response:
        """Send the form of an act, whose query is as that of the page ``ask``.

        :param headers: in the place of those of a browser on a page of the dashboard.
        """
        body = _spell({'query': _spell(query), **(form or {})})
        given = {'sec-fetch-site': 'same-origin'} if headers is None else dict(headers)
        given.setdefault('content-type', 'application/x-www-form-urlencoded')
        return await self.client.post('/act', content=body, headers=given)

    async def act(self, query: Mapping[str, Any], **changed: Any) -> httpx.Response:
        """Ask for an act, and send the form of the page that comes, with other values in some of its fields."""
        fields = (await self.get('ask', **query)).fields
        given = parse_qsl(fields.pop('query'), keep_blank_values=True, errors='surrogateescape')
        pairs: dict[str, Any] = {}
        for name, value in given:
            pairs.setdefault(name, []).append(value)
        return await self.post(pairs, {**fields, **changed})

    async def ask(
        self, method: str, page: str, query: Mapping[str, Any], headers: Mapping[str, str] | None = None
    ) -> httpx.Response:
        """Send a request."""
        path = page.removeprefix('./')
        pairs = _spell(query)
        url = f'/{path}' + (f'{"&" if "?" in path else "?"}{pairs}' if pairs else '')
        return await self.client.request(method, url, headers={**(headers or {})})


def _spell(query: Mapping[str, Any]) -> str:
    pairs = [
        (name, str(one)) for name, value in query.items() for one in (value if isinstance(value, list) else [value])
    ]
    return urlencode(pairs, errors='surrogateescape')
