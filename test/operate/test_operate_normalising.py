"""Messages without what differs from case to case: numbers, ids, instants, places; what tells kinds apart stays."""

from __future__ import annotations

import pytest

from torrelque.operate.normalising import MOST, normalise

pytestmark = pytest.mark.one_server


@pytest.mark.parametrize(
    ('one', 'other'),
    [
        ('of 17', 'of -4.5e-10'),
        ('of 17', 'of 1,234,567'),
        ('at 12:30:01.5', 'at 9:05'),
        ('host 10.0.0.1', 'host 192.168.17.200'),
        ('host fe80::1', 'host 2001:db8:0:1::2'),
        ('at 0x7f3fA0', 'at 0xDEADBEEF00'),
        ('task 550e8400-e29b-41d4-a716-446655440000', 'task 6BA7B810-9dad-11d1-80b4-00c04fd430c8'),
        ('digest deadbeef', 'digest 5f4dcc3b5aa765d61d8327deb882cf99'),
        ('customer cus_J5kT9aQ', 'customer cus_a1b2c3d4'),
        ("user 'ann' of \"x\"", "user 'it\\'s bob' of \"y 'z'\""),
        ("user 'ann'", 'user "it\'s ann"'),
        ('near `select 1`', 'near `drop`'),
        ("body '<html>", "body '" + 'long and never closed ' * 100),
        ('a   b', 'a\tb'),
        ('on 2026-11-29T10:00:00Z', 'on 2026-11-30T11:22:33.123456+01:00'),
        ('on 2026-11-29 10:00', 'on 2025-01-02'),
        ('for joe@doe.com', 'for ann.roe+1@mail.roe.org'),
        ('cannot open /data/7/joe.csv: no', 'cannot open /data/in/ann2.csv: no'),
        ('in (/tmp/tmp1abc/x)', 'in (/tmp/tmp_z9xx/y/z)'),
        ('in C:\\data\\7\\joe.csv', 'in C:\\data\\in\\ann2.csv'),
        ('of /u/550e8400-e29b-41d4-a716-446655440000/joe', 'of /u/6ba7b810-9dad-11d1-80b4-00c04fd430c8/ann'),
        ('for url: https://api.x.com/users/joe/7?a=b', 'for url: https://api.x.com/users/ann/12345'),
        ('code 90210', 'code 10001'),
        ('cannot decode 12', 'cannot decode 34'),
        ('status 2026-11-29', 'status 2026-11-30'),
        ('404 things', '405 things'),
    ],
)
def test_what_differs_from_case_to_case_is_left_out(one: str, other: str) -> None:
    assert normalise(one) == normalise(other)


@pytest.mark.parametrize(
    ('text', 'short'),
    [
        ("[Errno 111] Connect call failed ('127.0.0.1', 1)", "[Errno 111] Connect call failed ('…', N)"),
        ('[WinError 10061] no', '[WinError 10061] no'),
        ('status 404 of 404', 'status 404 of N'),
        ('status code: 503', 'status code: 503'),
        ('status_code=503, 12', 'status_code=503, N'),
        ('HTTP 502', 'HTTP 502'),
        ('HTTP/1.1 502 of 7', 'HTTP/N 502 of N'),
        ('HTTP Error 429: Too Many Requests', 'HTTP Error 429: Too Many Requests'),
        ('exit code 137 of 12', 'exit code 137 of N'),
        ('SQLSTATE 40001', 'SQLSTATE 40001'),
        ("Client error '404 Not Found' for url 'https://x/1'", "Client error '404 Not Found' for url '…'"),
        ('404 Client Error: Not Found for url: https://x.io/1', '404 Client Error: Not Found for url: https://x.io/…'),
        ("429, message='Too Many Requests'", "429, message='…'"),
        ('500 Internal Server Error', '500 Internal Server Error'),
        ('403 Forbidden', '403 Forbidden'),
        ('cannot open /etc/passwd', 'cannot open /etc/passwd'),
        ('3/4 of and/or 5', 'N/N of and/or N'),
        ('at https://x.com/a', 'at https://x.com/a'),
        ("don't, can't, the dogs' bone", "don't, can't, the dogs' bone"),
        ('of utf8 and sha256', 'of utfN and shaN'),
        ('defaced facade', 'defaced facade'),
        ('table_2026_11', 'table_N'),
        ('x' * 300, 'x' * (MOST - 1) + '…'),
    ],
)
def test_what_says_something_stays(text: str, short: str) -> None:
    assert normalise(text) == short
