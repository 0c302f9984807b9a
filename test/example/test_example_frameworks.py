"""Examples in frameworks, with the dashboard mounted: who gets in, and what is done there."""

from __future__ import annotations

import contextlib
import html
import re
import signal
from pathlib import Path
from typing import Any

import httpx
import pytest

from support.examples import Run, run
from test_example_layers import until

__all__ = ['run']


def act(browser: httpx.Client, site: str, **query: str) -> httpx.Response:
    """Ask for an act in the dashboard, and say yes."""
    page = browser.get(f'{site}/queues/ask', params=query)
    fields = re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', page.text)
    form = {name: html.unescape(value) for name, value in fields}
    return browser.post(f'{site}/queues/act', data=form, headers={'sec-fetch-site': 'same-origin'})


def test_the_shop_in_django_has_its_queue_beside_it(run: Run) -> None:
    example = run('django_shop/__main__', '--port', 0)
    site = example.wait_for(r'is at (http://\S+)/, its queue')[1]

    def log_in(name: str) -> httpx.Client:
        browser = httpx.Client(follow_redirects=True, timeout=90)
        page = browser.get(f'{site}/queues/')
        assert (page.url.path, page.url.params['next']) == ('/admin/login/', '/queues/')
        token = browser.cookies['csrftoken']
        fields = {'csrfmiddlewaretoken': token, 'username': name, 'password': 'secret', 'next': '/queues/'}
        page = browser.post(str(page.url), data=fields)
        assert page.url.path == '/queues/'
        assert name in page.text
        return browser

    def order(browser: httpx.Client, thing: str) -> None:
        browser.get(f'{site}/')
        fields = {'csrfmiddlewaretoken': browser.cookies['csrftoken'], 'thing': thing}
        assert thing in browser.post(f'{site}/orders', data=fields).text

    with contextlib.closing(log_in('ann')) as ann, contextlib.closing(log_in('joe')) as joe:
        order(ann, 'kettle')
        until(lambda: 'order 1, kettle: packed' in ann.get(f'{site}/').text)
        order(ann, 'teapot')
        dead = {'q': 'shop', 'place': 'dead'}
        until(lambda: 'order-2' in ann.get(f'{site}/queues/tasks', params=dead).text)
        again = {'act': 'redrive', 'status': 'dead', 'id': 'order-2'}
        assert joe.get(f'{site}/queues/ask', params=again).status_code == 403
        assert act(ann, site, **again).status_code == 200
        entry = '/admin/torrelque/queue/shop/change/'
        until(lambda: entry in ann.get(f'{site}/admin/').text)
        assert str(ann.get(f'{site}{entry}').url) == f'{site}/queues/queue?q=shop'
    example.process.send_signal(signal.SIGTERM)
    example.finish()
    # The worker tells of the teapot, which has broken three times at the least.
    told = [line for line in example.errors.splitlines() if 'RuntimeError' in line]
    assert len(told) >= 3


def test_the_sign_up_has_its_queue_beside_it(run: Run, tmp_path: Path) -> None:
    pytest.importorskip('fastapi')
    example = run('signup', '--port', 0, '--mails', tmp_path)
    site = example.wait_for(r'at (http://\S+)/signup')[1]

    def log_in(name: str, password: str = 'secret', **more: Any) -> httpx.Response:
        page = browser.get(f'{site}/queues/tasks')
        assert (page.url.path, page.url.params['next']) == ('/login', '/queues/tasks')
        back = html.unescape(re.findall(r'name="next" value="([^"]*)"', page.text)[0])
        return browser.post(f'{site}/login', data={'name': name, 'password': password, 'next': back, **more})

    with httpx.Client(follow_redirects=True, timeout=90) as browser:
        assert log_in('ann', 'wrong').status_code == 403
        assert log_in('eve').status_code == 403
        page = log_in('joe')
        assert (page.url.path, page.status_code) == ('/queues/tasks', 200)
        assert browser.get(f'{site}/queues/ask', params={'act': 'pause', 'q': 'signup'}).status_code == 403
        browser.cookies.clear()
        page = log_in('ann', next='https://elsewhere.example/queues/')
        assert str(page.url) == f'{site}/queues/'
        assert act(browser, site, act='pause', q='signup').status_code == 200
        mail = browser.post(f'{site}/signup', json={'address': 'joe@doe.com'}).json()['mail']
        assert browser.get(f'{site}{mail}').json()['state'] == 'pending'
        assert act(browser, site, act='resume', q='signup').status_code == 200
        until(lambda: browser.get(f'{site}{mail}').json()['state'] == 'completed')
    example.process.send_signal(signal.SIGTERM)
    example.finish()
    assert example.errors == ''
