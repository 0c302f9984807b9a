"""What is found in texts by its looks, and what is left as it is."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings, strategies as st

from torrelque.dashboard.looks import Looks

LOOKS = Looks(['pin', 'Geheim-Zahl'])
JWT = 'eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.abc-_def'
BLOCK = '-----BEGIN RSA PRIVATE KEY-----\nMIIEow\nIBAAK+/=\n-----END RSA PRIVATE KEY-----'


@pytest.mark.parametrize(('text', 'shown'), [
    (JWT, '•••'), (f'refused: {JWT}, again', 'refused: •••, again'), (f'a="{JWT[:-8]}"', 'a="•••"'),
    (f'the key\n{BLOCK}\nis bad', 'the key\n•••\nis bad'), (BLOCK[:50], '•••'), (BLOCK[32:], '•••'),
    ('sk_live_abcdefghij0123 was used', '••• was used'), ('AKIAABCDEFGHIJKLMNOP', '•••'),
    ('postgres://user:pw@host/db', 'postgres://•••@host/db'), ('redis://:p/w@host', 'redis://•••@host'),
    ('amqp://u:p@ss@host:1/x', 'amqp://•••@host:1/x'), ('https://joe:pw@host/a', 'https://•••@host/a'),
    ('https://joe:12345@host/a', 'https://•••@host/a'),
    ('https://0123456789abcdef@sentry.io/1', 'https://•••@sentry.io/1'),
    ('Bearer abcdef', 'Bearer •••'), ('with bearer token: a1b2c3', 'with bearer token: •••'),
    ('Basic dXNlcjpwdw==', 'Basic •••'), ('basic dXNlcjpwYXNz', 'basic •••'),
    ('password=hunter2, user=joe', 'password=•••, user=joe'), ('DB_PASSWORD: hunter2', 'DB_PASSWORD: •••'),
    ("{'Api-Key': 'hunt\\'er', 'a': 1}", "{'Api-Key': '•••', 'a': 1}"), ('{"userToken": "a b', '{"userToken": "•••'),
    ('{\\"password\\": \\"a\\", \\"b\\": 1}', '{\\"password\\": \\"•••\\", \\"b\\": 1}'),
    ('a=1&access_token=x&b=2', 'a=1&access_token=•••&b=2'), ('?X-Amz-Signature=ab12&a=1', '?X-Amz-Signature=•••&a=1'),
    ('Authorization: Digest a, b="c"\nHost: x', 'Authorization: •••\nHost: x'), ('Cookie: a=b; c=d', 'Cookie: •••'),
    ("secrets=['a', ('b',)] z=1", 'secrets=••• z=1'), ('card: 4111 1111 1111 1111 of joe', 'card: ••• of joe'),
    ('Key (iban)=(DE89) exists', 'Key (iban)=••• exists'),
    ("cmd ['x', '--token', 'abc']", "cmd ['x', '--token', '•••']"),
    ('x --password hunter2 -v', 'x --password ••• -v'), ('wrong password: hunter2', 'wrong password: •••'),
    ('<w:Password a="b">hunter2</w:Password>', '<w:Password a="•••">•••</w:Password>'),
    ("1 validation error for Login\npassword\n  Too short [type=short, input_value='abc', input_type=str]\n  For",
     '1 validation error for Login\npassword\n  Too short [type=short, input_value=•••]\n  For'),
    ('pin=1234 geheim_zahl=12', 'pin=••• geheim_zahl=•••'), ('ｐａｓｓｗｏｒｄ=hunter2', 'ｐａｓｓｗｏｒｄ=•••'),  # noqa: RUF001
])  # fmt: skip
def test_secret_is_hidden_where_it_stands(text: str, shown: str) -> None:
    assert LOOKS.hide(text) == shown


@pytest.mark.parametrize('text', [
    '', 'the token has expired', 'InvalidTokenError: The token has expired',
    'File "auth/token.py", line 3, in get_token',
    'auth/token.py:12', 'https://host:8080/a?x=joe@doe.com', 'mailto:joe@doe.com', 'ssh://git@host/a',
    'basic information',
    'Bearer authentication is needed', 'class_name=Foo className: Bar', 'shipping=1 mapping: 2', 'password: None',
    'eyJhbGciOi... and so on', '{"a": 1, "b": [2]}', 'KeyError: \'secret\'', '-----', 'a -- b', 'password',
])  # fmt: skip
def test_what_is_no_secret_stays(text: str) -> None:
    assert LOOKS.hide(text) == text


@pytest.mark.parametrize('name', [
    'password', 'userPassword', 'USER-PASSWORD', 'pass_word', 'apiKey', 'X-Api-Key', 'api key', 'access_token',
    'tokens',
    'Authorization', 'set-cookie', 'client_secret', 'creditCard', 'myCardNumber', 'card', 'cards', 'card_number',
    'cardnumber',
    'userSSN',
    'ssn', 'IBAN', 'iban1', 'pin', 'pinCode', 'GeheimZahl', 'credentials', 'a' * 300 + 'password',
])  # fmt: skip
def test_name_of_a_secret_is_known_however_it_is_written(name: str) -> None:
    assert LOOKS.is_name(name)


@pytest.mark.parametrize('name', ['class_name', 'className', 'classname', 'user', 'dashboard', 'shipping', 'key', ''])
def test_other_names_are_none_of_secrets(name: str) -> None:
    assert not LOOKS.is_name(name)


PARTS = st.sampled_from(['password', '=', ':', '"', "'", '\\', ' ', '\n', '[', ']', '{', '://', '@', 'eyJ', '.',
                         'Bearer ',
                         'Basic ', '-----BEGIN A-----', '-----END A-----', '<', '>', '--', '&', 'token', 'None',
                         '\ud800',
                         'card', '4111 ', 'x', '[type=', 'input_value='])  # fmt: skip


@settings(deadline=None)
@given(st.lists(PARTS | st.text(max_size=5), max_size=40).map(''.join))
@pytest.mark.long
def test_any_text_can_be_looked_at(text: str) -> None:
    LOOKS.hide(text)


@settings(deadline=None)
@given(
    st.sampled_from(['password={}', '"token": "{}"', "'api_key': '{}'", 'Bearer {}', 'a://u:{}@h',
    '<secret>{}</secret>']),
    st.from_regex(r'[A-Za-z0-9]{12,30}', fullmatch=True),
    st.text(st.characters(categories=['L', 'N', 'P', 'Zs']), max_size=30),
)  # fmt: skip
def test_secret_is_found_behind_any_words(form: str, secret: str, before: str) -> None:
    assert secret not in LOOKS.hide(f'{before} {form.format(secret)} end')


@pytest.mark.parametrize('part', [
    'a://b:', 'eyJ', '\\"', 'password', '-----BEGIN -----', 'password ', '<password', '-----END A-----', 'basic ',
    'bearer ', 'password=[', '\npassword\n x[type=', 'sk-', "token='", '--password ', 'a@b://', 'token=\\"', 'AB12 ',
])  # fmt: skip
@pytest.mark.long
def test_time_grows_with_the_text_and_not_with_its_square(part: str) -> None:
    text = '@' + (part * 400_000)[:400_000] + '@ password="x'
    began = time.process_time()
    LOOKS.hide(text)
    # Tenths of a second at the most; what grows with the square takes minutes.
    assert time.process_time() - began < 60


def test_text_without_end_is_bounded() -> None:
    assert len(LOOKS.hide('x' * (1 << 22))) <= (1 << 20) + 1
