"""A gallery of thumbnails as a flow: fan-out over a result, a cleanup, killed workers; a live picture, and the proof.

    python example/gallery.py
    python example/gallery.py --images 100 --processes 8
    python example/gallery.py --keep /tmp/gallery       # and look at it

    unpack ──► thumbnail, for each image ──► gallery
                                       └──► remove, at the end

Nobody knows how many images are in the archive until it is unpacked.  Thumbnails are made by several processes, some at
a time; one fails once, for a disk that is full, and is tried again.  Two processes are killed (`kill -9`) in the middle
of an image, and others take over when the leases have ended.  The gallery is made once, when all thumbnails are there;
and what was unpacked is removed, whatever happens.

At the end the program looks: each image is in the gallery once, with the right thumbnail; nothing is left of what was
unpacked, and nothing of the flow on the server; else the exit code is 1.
"""

import argparse
import asyncio
import collections
import colorsys
import contextlib
import json
import logging
import multiprocessing
import os
import re
import secrets
import shutil
import signal
import struct
import sys
import tempfile
import zipfile
import zlib
from collections.abc import Mapping
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, NamedTuple

import redis.asyncio

from torrelque import Torrelque
from torrelque.embedded import Server
from torrelque.flows import Flow, FlowFailedError, FlowHandle
from torrelque.tasks import Tasks, current
from torrelque.worker import Worker

WIDTH, HEIGHT, FACTOR = 160, 120, 4
LEASE = 2  # how long (s) it takes until somebody takes over from a process that was killed
RESULT_TTL = 3  # how long (s) the flow can be asked for its results

# Images: one as it is in memory, as PPM (which is nearly the same), and as PNG.


class Image(NamedTuple):
    width: int
    height: int
    pixels: bytes
    """Red, green and blue of each, row by row."""


def paint(number: int, total: int) -> Image:
    """A picture like no other: a colour of its own, and a light in another place."""
    light = (WIDTH * (number * 5 % 8) / 7, HEIGHT * (number * 3 % 5) / 4)
    shades = [bytes(int(255 * part) for part in colorsys.hls_to_rgb(number / total, shade / 255, 0.6))
              for shade in range(256)]  # fmt: skip
    pixels = (
        shades[max(20, 230 - int(abs(complex(x - light[0], y - light[1]))) * 3 // 2)]
        for y in range(HEIGHT)
        for x in range(WIDTH)
    )
    return Image(WIDTH, HEIGHT, b''.join(pixels))


def shrink(image: Image, factor: int) -> Image:
    """Each pixel is the mean of a square."""
    width, height = image.width // factor, image.height // factor
    line = 3 * image.width
    pixels = bytearray()
    for y in range(0, height * factor, factor):
        rows = [image.pixels[line * (y + k) : line * (y + k + 1)] for k in range(factor)]
        for x in range(0, width * factor, factor):
            for colour in range(3):
                pixels.append(sum(sum(row[3 * x + colour : 3 * (x + factor) : 3]) for row in rows) // factor**2)
    return Image(width, height, bytes(pixels))


def to_ppm(image: Image) -> bytes:
    return b'P6 %d %d 255\n' % image[:2] + image.pixels


def from_ppm(data: bytes) -> Image:
    head, _, pixels = data.partition(b'\n')
    _, width, height, _ = head.split()
    return Image(int(width), int(height), pixels)


def to_png(image: Image) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack('>I', len(data)) + kind + data + struct.pack('>I', zlib.crc32(kind + data))

    line = 3 * image.width
    rows = b''.join(b'\0' + image.pixels[start : start + line] for start in range(0, len(image.pixels), line))
    head = struct.pack('>IIBBBBB', image.width, image.height, 8, 2, 0, 0, 0)
    return b'\x89PNG\r\n\x1a\n' + chunk(b'IHDR', head) + chunk(b'IDAT', zlib.compress(rows)) + chunk(b'IEND', b'')


def from_png(data: bytes) -> Image:
    """Read what `to_png` has written."""
    width, height = struct.unpack('>II', data[16:24])
    (length,) = struct.unpack('>I', data[33:37])
    rows = zlib.decompress(data[41 : 41 + length])
    line = 3 * width + 1
    return Image(width, height, b''.join(rows[start + 1 : start + line] for start in range(0, len(rows), line)))


# The flow


class Files:
    """What is where."""

    def __init__(self, args: argparse.Namespace) -> None:
        self.folder: Path = args.folder
        self.archive = self.folder / 'images.zip'
        self.unpacked = self.folder / 'unpacked'
        self.journal = self.folder / 'journal'
        self.gallery: Path = args.keep or self.folder / 'gallery'

    def note(self, what: str, image: str) -> None:
        """Write down what happens; lines of several processes do not mix."""
        with self.journal.open('a') as journal:
            journal.write(json.dumps([what, image, os.getpid()]) + '\n')

    def read_journal(self) -> list[tuple[str, str, int]]:
        if not self.journal.exists():
            return []
        return [(what, image, pid) for what, image, pid in map(json.loads, self.journal.read_text().splitlines())]

    def claim(self, what: str) -> bool:
        """Whether we are the first of all processes to ask."""
        try:
            (self.folder / what).touch(exist_ok=False)
        except FileExistsError:
            return False
        return True


def write(path: Path, data: bytes) -> None:
    """Write a file whole or not at all, also where we are killed: so it can be done again.  A part may stay then."""
    part = path.with_name(f'{path.name}.{secrets.token_hex(4)}.part')
    part.write_bytes(data)
    part.replace(path)


class Fate:
    """What goes wrong in a process."""

    def __init__(self, files: Files, images: int) -> None:
        self._files = files
        self._images = images
        self._hangs = False

    async def strike(self, image: str) -> None:
        """Fail, or hang until this process is killed: of all images once, and twice, in two processes."""
        quarter = 4 * int(image) // self._images
        if quarter >= 1 and self._files.claim('failure'):
            self._files.note('failed', image)
            raise OSError('no space left on device')
        # The second time is later; or the same image, if all others are done.
        again = quarter >= 3 or current().attempt > 1
        if quarter >= 2 and not self._hangs and (
            self._files.claim('hang') or (again and self._files.claim('hang-again'))
        ):
            self._hangs = True
            self._files.note('hung', image)
            await asyncio.Event().wait()


def make_flow(queue: Torrelque, args: argparse.Namespace) -> tuple[Tasks, Flow[str]]:
    """The functions, and what waits for what."""
    queue.task_timeout = LEASE
    app = Tasks(queue)
    files = Files(args)
    fate = Fate(files, args.images)

    @app.task(name='unpack')
    def unpack(archive: str) -> list[str]:
        files.gallery.mkdir(parents=True, exist_ok=True)
        with zipfile.ZipFile(archive) as images:
            images.extractall(files.unpacked)
            return sorted(images.namelist())

    @app.task(name='thumbnail', retry=0.3)
    async def thumbnail(image: str) -> str:
        name = Path(image).stem
        files.note('begun', name)
        await asyncio.sleep(args.work)  # stands for larger images
        await fate.strike(name)
        data = await asyncio.to_thread((files.unpacked / image).read_bytes)
        small = await asyncio.to_thread(shrink, from_ppm(data), FACTOR)
        write(files.gallery / f'{name}.png', to_png(small))
        files.note('done', name)
        return f'{name}.png'

    @app.task(name='gallery')
    def gallery(thumbnails: list[str]) -> str:
        page = files.gallery / 'index.html'
        images = '\n'.join(f'<img src="{name}" alt="">' for name in thumbnails)
        write(page, f'<!doctype html>\n<title>Gallery</title>\n{images}\n'.encode())
        return str(page)

    @app.task(name='remove')
    def remove() -> None:
        shutil.rmtree(files.unpacked, ignore_errors=True)
        for part in files.gallery.glob('*.png.*.part'):  # of a process that was killed while it wrote another image
            part.unlink(missing_ok=True)

    thumbnails = unpack.s(str(files.archive)).map(thumbnail, limit=args.limit)
    thumbnails.at_end(remove.s())
    page = thumbnails >> gallery
    return app, page.options(name='gallery', result_ttl=RESULT_TTL)


# A worker process


def work(args: argparse.Namespace) -> None:
    logging.getLogger('torrelque.worker').setLevel(logging.ERROR)  # a failure belongs to the story
    asyncio.run(run_worker(args))


async def run_worker(args: argparse.Namespace) -> None:
    # When the main process is killed, there is nobody left to work for.
    main_process = multiprocessing.parent_process()
    assert main_process is not None
    asyncio.get_running_loop().add_reader(main_process.sentinel, os._exit, 1)
    async with redis.asyncio.from_url(args.url) as client, Torrelque(client, queue=args.queue) as queue:
        await Worker(make_flow(queue, args)[0], concurrency=2).run()  # until SIGTERM


# The main process


class Processes:
    """The workers: `async with` starts them, and ends them."""

    def __init__(self, args: argparse.Namespace) -> None:
        spawn = multiprocessing.get_context('spawn')
        self.all: list[BaseProcess] = [
            spawn.Process(target=work, args=(args,), daemon=True) for _ in range(args.processes)
        ]
        self.killed: dict[int, str] = {}
        """The image that each was at."""

    async def __aenter__(self) -> 'Processes':
        # They are born deaf to Ctrl-C, and tell nothing of it while they start.
        interrupt = signal.signal(signal.SIGINT, signal.SIG_IGN)
        for process in self.all:
            process.start()
        signal.signal(signal.SIGINT, interrupt)
        return self

    async def __aexit__(self, *_: object) -> None:
        for process in self.all:
            process.terminate()
        for process in self.all:
            await asyncio.to_thread(process.join, 10)
            process.kill()
            process.join()

    def kill_those_that_hang(self, journal: list[tuple[str, str, int]]) -> None:
        for what, image, pid in journal:
            if what == 'hung' and pid not in self.killed:
                os.kill(pid, signal.SIGKILL)
                self.killed[pid] = image
        if not any(process.is_alive() for process in self.all):
            raise ChildProcessError('All processes have ended, and the gallery is not made.')


class Picture:
    """What is seen meanwhile: thumbnails where they will be, on a terminal; else a line for each thing that happens."""

    COLUMNS, CELL = 8, 8

    def __init__(self, args: argparse.Namespace, processes: Processes) -> None:
        # Legend.  _height: lines that are on the screen now.  _told: how many entries of the journal were printed.
        self._args = args
        self._files = Files(args)
        self._processes = processes
        self._height = self._told = 0
        self._small: dict[str, Image] = {}

    async def show(self, handle: FlowHandle[str], journal: list[tuple[str, str, int]]) -> None:
        if sys.stdout.isatty():
            size = shutil.get_terminal_size()
            summary = [await self._describe_flow(handle, journal), *self._describe_processes(journal)]
            lines = self._draw_images(journal) if size.columns > self.COLUMNS * (self.CELL + 1) else []
            lines = [*lines[: size.lines - len(summary) - 1], *(line[: size.columns - 1] for line in summary)]
            print((f'\x1b[{self._height}F\x1b[J' if self._height else '') + '\n'.join(lines), flush=True)
            self._height = len(lines)
            return
        for what, image, pid in journal[self._told :]:
            print(f'process {pid}  thumbnail {image}  {"killed" if what == "hung" else what}', flush=True)
        self._told = len(journal)

    async def _describe_flow(self, handle: FlowHandle[str], journal: list[tuple[str, str, int]]) -> str:
        done = len({image for what, image, _ in journal if what == 'done'})
        states = {name: await handle.task(name).state() for name in ('unpack', 'gallery', 'remove')}
        unpack, gallery, remove = (f'{name} {state.status.name.lower()}' for name, state in states.items())
        return f'{unpack}   thumbnails {done} of {self._args.images}   {gallery}   {remove}'

    def _describe_processes(self, journal: list[tuple[str, str, int]]) -> list[str]:
        at: dict[int, list[str]] = {process.pid or 0: [] for process in self._processes.all}
        for what, image, pid in journal:
            if what == 'begun':
                at[pid].append(image)
            elif image in at[pid] and what != 'hung':
                at[pid].remove(image)
        killed = self._processes.killed
        return [
            f'process {pid}  ' + (f'killed at image {killed[pid]}' if pid in killed else ' '.join(images) or 'idle')
            for pid, images in at.items()
        ]

    def _draw_images(self, journal: list[tuple[str, str, int]]) -> list[str]:
        last = {image: what for what, image, _ in journal}
        lines = []
        for start in range(0, self._args.images, self.COLUMNS):
            numbers = range(start, min(start + self.COLUMNS, self._args.images))
            cells = [self._draw(f'{number:03}', last.get(f'{number:03}', '')) for number in numbers]
            lines += [' '.join(parts) for parts in zip(*cells, strict=True)]
            lines.append('')
        return lines

    def _draw(self, name: str, what: str) -> list[str]:
        """An image in three lines of eight characters, each with two pixels one above the other."""
        if what != 'done':
            word = {'hung': 'killed', 'begun': 'at work', 'failed': 'again'}.get(what, '')
            return [f'{name:^8}', f'{word:^8}', f'{"":8}']
        if name not in self._small:
            self._small[name] = shrink(from_png((self._files.gallery / f'{name}.png').read_bytes()), 5)
        width, height, pixels = self._small[name]
        lines = []
        for y in range(0, height, 2):
            above, below = ([pixels[3 * i : 3 * i + 3] for i in range(k * width, (k + 1) * width)] for k in (y, y + 1))
            dots = (
                f'\x1b[38;2;{";".join(map(str, up))}m\x1b[48;2;{";".join(map(str, down))}m▀'
                for up, down in zip(above, below, strict=True)
            )
            lines.append(''.join(dots) + '\x1b[0m')
        return lines


def make_archive(args: argparse.Namespace) -> None:
    with zipfile.ZipFile(Files(args).archive, 'w', zipfile.ZIP_DEFLATED) as archive:
        for number in range(args.images):
            archive.writestr(f'{number:03}.ppm', to_ppm(paint(number, args.images)))


async def run_flow(
    args: argparse.Namespace, handle: FlowHandle[str]
) -> tuple[dict[int, str], Mapping[str, str | None]]:
    """Have the gallery made, kill the processes that hang, and show it all; who was killed, and how each task ended."""
    files = Files(args)
    async with Processes(args) as processes:
        picture = Picture(args, processes)
        print(f'{args.processes} processes ({", ".join(str(process.pid) for process in processes.all)})', flush=True)
        result = asyncio.ensure_future(handle.result())
        try:
            while not result.done():
                journal = files.read_journal()
                processes.kill_those_that_hang(journal)
                await picture.show(handle, journal)
                await asyncio.wait([result], timeout=0.1)
            await result
            await picture.show(handle, files.read_journal())
            outcomes = {outcome.name: outcome.how async for outcome in handle.outcomes()}
        finally:
            result.cancel()
    return processes.killed, outcomes


def prove(args: argparse.Namespace, killed: dict[int, str], outcomes: Mapping[str, str | None], keys: int) -> bool:
    """Look at what is there, and print it; whether all is as it has to be."""
    files = Files(args)
    names = [f'{number:03}' for number in range(args.images)]
    counts = collections.Counter(what for what, _, _ in files.read_journal())
    page = (files.gallery / 'index.html').read_text()
    shown = re.findall(r'<img src="(\d+)\.png"', page)
    expected = [shrink(paint(number, args.images), FACTOR) for number in range(args.images)]
    made = [from_png((files.gallery / f'{name}.png').read_bytes()) for name in names]
    left = [path.name for path in files.gallery.iterdir() if path.suffix == '.part']
    verdicts: list[tuple[str, Any, bool]] = [
        ('images in the gallery', f'{len(shown)} of {len(names)}, each once', shown == names),
        ('thumbnails that are right', sum(map(Image.__eq__, made, expected)), made == expected),
        ('attempts', f'{counts["begun"]}, of which {counts["failed"]} failed', counts['failed'] == 1),
        ('processes killed', len(killed), len(killed) == 2),
        ('tasks that completed', len(outcomes), {*outcomes.values()} == {'completed'}),
        ('cleanup', outcomes.get('remove'), not files.unpacked.exists()),
        ('files left over', len(left), not left),
        ('keys left over', keys, keys == 0),
    ]
    print()
    for title, told, holds in verdicts:
        print(f'{title:27}{told!s:32}{"yes" if holds else "NO"}')
    return all(holds for *_, holds in verdicts)


async def count_keys(client: 'redis.asyncio.Redis', name: str, flow_id: str) -> int:
    """What is left of a flow on the server, when the time of its results is over; it has some seconds for that."""
    found: list[str] = []
    for _ in range(20 * RESULT_TTL):
        keys = [key.decode() async for key in client.scan_iter(match=f'{{{name}}}:*', count=1000)]
        found = [key for key in keys if flow_id in key or key.endswith((':tasks', ':waiting', ':pending', ':working'))]
        if not found:
            break
        await asyncio.sleep(0.1)
    return len(found)


async def run(args: argparse.Namespace) -> int | str:
    main_task = asyncio.current_task()
    assert main_task is not None
    for sign in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(sign, main_task.cancel)
    try:
        async with contextlib.AsyncExitStack() as stack:
            args.folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix='gallery-')))
            args.url = args.url or (await stack.enter_async_context(Server())).url
            args.queue = f'gallery-{secrets.token_hex(4)}'  # a queue of our own: what is in it is ours alone
            client = await stack.enter_async_context(redis.asyncio.from_url(args.url))
            stack.push_async_callback(clean, client, args.queue)
            queue = await stack.enter_async_context(Torrelque(client, queue=args.queue))
            make_archive(args)
            app, flow = make_flow(queue, args)
            await stack.enter_async_context(app)
            handle = await flow.enqueue()
            print(f'{args.images} images in an archive, a flow on {args.url}', flush=True)
            killed, outcomes = await run_flow(args, handle)
            proven = prove(args, killed, outcomes, await count_keys(client, args.queue, handle.id))
            print('The proof holds.' if proven else 'The proof FAILS.')
            return 0 if proven else 1
    except (ChildProcessError, FlowFailedError) as exc:
        return str(exc)
    except asyncio.CancelledError:
        print('\nStopped before the end; nothing is proven.')
        return 0


async def clean(client: 'redis.asyncio.Redis', name: str) -> None:
    """Leave nothing behind on a server that is not ours."""
    async for key in client.scan_iter(match=f'{{{name}}}:*', count=1000):
        await client.unlink(key)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or '').partition('\n')[0])
    add = parser.add_argument
    add('--images', type=int, default=24, metavar='N', help='(default: %(default)s)')
    add('--processes', type=int, default=4, metavar='N', help='at least 3: two are killed (default: %(default)s)')
    add('--limit', type=int, default=6, metavar='N', help='thumbnails made at a time (default: %(default)s)')
    add('--work', type=float, default=0.3, metavar='S', help='more time of a thumbnail (default: %(default)s s)')
    add('--keep', type=Path, metavar='DIR', help='where the gallery is to stay; by default nothing does')
    add('--url', default=os.environ.get('REDIS_URL'), help='of a server (default: REDIS_URL, else one of our own)')
    args = parser.parse_args()
    if args.processes < 3 or args.images < 12:
        parser.error('it takes 3 processes, of which two are killed, and 12 images')
    return args


if __name__ == '__main__':
    sys.exit(asyncio.run(run(parse_arguments())))
