"""Mails, as decorated functions of an app: the first kind of worker."""

from torrelque.tasks import Tasks, current

app = Tasks.from_url(queue='mail')


@app.task(name='send', retry=0.2)
async def send(address: str) -> str:
    if current().attempt == 1:
        raise ConnectionRefusedError('the mail server is down')
    return f'sent to {address}'
