// One stream of server-sent events brings all there is to show, in frames:
//
//   {tasks: [...], gone: [ids], stats: {...}, trouble: '', reset: bool}
//
// A frame has what has changed since the last one; the first, after each connect, has everything (reset).

const SILENCE = 12_000 // ms; the server says something every few seconds, so after this nobody is there
const NAMES = {
  pending: 'Pending',
  working: 'Working',
  delayed: 'Delayed',
  completed: 'Completed',
  rejected: 'Rejected',
  dead: 'Dead',
  cancelled: 'Cancelled',
  forgotten: 'Forgotten',
}
const FINISHED = new Set(['completed', 'rejected', 'cancelled', 'forgotten'])

const $ = (id) => document.getElementById(id)
const rows = new Map()

// The stream

let source
let heard = performance.now()
let retry

function connect() {
  clearTimeout(retry)
  source?.close()
  heard = performance.now()
  source = new EventSource('/events')
  source.onmessage = (event) => {
    heard = performance.now()
    receive(JSON.parse(event.data))
  }
  source.onerror = () => {
    say('Connection lost. Reconnecting…')
    // The browser tries again by itself, but not after an answer that is no stream.
    if (source.readyState === EventSource.CLOSED) retry = setTimeout(connect, 2000)
  }
}

function check() {
  if (performance.now() - heard > SILENCE) {
    say('Connection lost. Reconnecting…')
    connect()
  }
}

setInterval(check, 4000)
document.addEventListener('visibilitychange', check) // a phone that wakes up
window.addEventListener('online', connect)
window.addEventListener('pageshow', (event) => event.persisted && connect())

function say(text) {
  if ($('notice').textContent !== text) $('notice').textContent = text
  document.body.classList.toggle('stale', Boolean(text))
}

function receive({ tasks = [], gone = [], stats, trouble, reset }) {
  say(trouble)
  if (stats) {
    for (const place of $('stats').children) place.querySelector('dd').textContent = stats[place.dataset.status]
  }
  if (reset) {
    const known = new Set(tasks.map((task) => task.id))
    gone = [...rows.keys()].filter((id) => !known.has(id))
  }
  for (const id of gone) {
    rows.get(id)?.element.remove()
    rows.delete(id)
  }
  tasks.sort((one, other) => one.started - other.started)
  for (const task of tasks) show(task, reset)
  if (tasks.length || gone.length || reset) summarise()
}

function summarise() {
  const finished = [...rows.values()].filter(({ task }) => FINISHED.has(task.status)).length
  $('count').textContent = rows.size || ''
  $('clear').hidden = !finished
  $('empty').hidden = rows.size > 0
}

// A task

function show(task, quiet) {
  const row = rows.get(task.id) ?? add(task, quiet)
  const before = row.task?.status
  row.task = task
  const { element } = row
  const find = (name) => element.querySelector(name)
  const write = (name, text) => {
    const place = find(name)
    if (place.textContent !== text) place.textContent = text
  }
  element.dataset.status = task.status
  write('.status', NAMES[task.status])
  write('.attempt', task.attempt > 0 && !FINISHED.has(task.status) ? `attempt ${task.attempt} of ${task.attempts}` : '')
  write('.error', task.error && !FINISHED.has(task.status) ? task.error : '')
  showActions(element, task)
  showBar(row, find('.track'))
  write('.detail', describe(row))
  if (before && before !== task.status) announce(task)
}

function add(task, quiet) {
  const element = $('task').content.firstElementChild.cloneNode(true)
  element.dataset.id = task.id
  element.dataset.kind = task.kind
  element.classList.toggle('new', !quiet)
  element.querySelector('use').setAttribute('href', `#${task.kind}`)
  element.querySelector('.title').textContent = task.title
  element.querySelector('.id').textContent = task.id.slice(0, 8)
  const row = { element, started: task.started }
  rows.set(task.id, row)
  // The newest comes first.  Most are newer than all others.
  let next = $('tasks').firstElementChild
  while (next && rows.get(next.dataset.id).started > task.started) next = next.nextElementSibling
  $('tasks').insertBefore(element, next)
  return row
}

function showActions(element, task) {
  for (const button of element.querySelectorAll('button')) {
    const { verb } = button.dataset
    const hide = verb === 'redrive' ? task.status !== 'dead' : FINISHED.has(task.status)
    // Who has come to the button by the keyboard is not thrown back to the top of the page.
    if (hide && document.activeElement === button) element.focus({ preventScroll: true })
    button.hidden = hide
    button.setAttribute('aria-label', `${verb === 'redrive' ? 'Redrive' : 'Cancel'} ${task.title}`)
  }
}

function showBar(row, track) {
  const { task, element } = row
  const { progress, retry_in: left, retry_after: total } = task
  const form = task.status === 'delayed' && left != null ? 'countdown'
    : task.status !== 'working' ? ''
    : progress ? 'progress' : 'busy'
  row.due = form === 'countdown' ? performance.now() + left * 1000 : null
  if (row.due) ticking ??= setTimeout(tick, 200)
  track.hidden = !form
  for (const name of ['countdown', 'progress', 'busy']) element.classList.toggle(name, name === form)
  track.removeAttribute('role')
  if (form === 'progress') {
    const parts = { role: 'progressbar', 'aria-label': task.title, 'aria-valuemin': 0 }
    for (const [name, value] of Object.entries(parts)) track.setAttribute(name, value)
    track.setAttribute('aria-valuemax', progress.total)
    track.setAttribute('aria-valuenow', progress.done)
    track.style.setProperty('--done', progress.done / progress.total)
  }
  row.countdown?.cancel()
  if (form === 'countdown') {
    const still = Math.min(left / total, 1)
    row.countdown = track.firstElementChild.animate({ transform: [`scaleX(${still})`, 'scaleX(0)'] }, left * 1000)
  }
}

function describe({ task, due }) {
  const { status, progress } = task
  if (status === 'pending') return task.attempt > 0 ? 'waits for a consumer again' : 'waits for a consumer'
  if (status === 'working') return progress ? `${progress.done} of ${progress.total} frames` : ''
  if (status === 'delayed') {
    const left = due ? Math.ceil((due - performance.now()) / 1000) : 0
    return left > 0 ? `next attempt in ${left} s` : 'next attempt is due'
  }
  if (status === 'completed') return [task.result, task.seconds && `${task.seconds.toFixed(1)} s`].filter(Boolean).join(' · ')
  if (status === 'dead') return 'attempts used up'
  if (status === 'forgotten') return 'the queue does not know it any more'
  return ''
}

let ticking

function tick() {
  const waiting = [...rows.values()].filter(({ task, due }) => task?.status === 'delayed' && due)
  for (const row of waiting) {
    const place = row.element.querySelector('.detail')
    const text = describe(row)
    if (place.textContent !== text) place.textContent = text
  }
  ticking = waiting.length ? setTimeout(tick, 200) : null
}

// For who does not see it: what became of tasks, some at a time

let news = []
let reading

function announce(task) {
  if (!['completed', 'dead', 'cancelled'].includes(task.status)) return
  news.push(`${task.title}: ${NAMES[task.status].toLowerCase()}`)
  reading ??= setTimeout(() => {
    $('news').textContent = news.length > 3 ? `${news.length} tasks have changed` : news.join(', ')
    news = []
    reading = null
  }, 1000)
}

// Buttons

let hiding

function complain(text) {
  $('alert').textContent = text
  clearTimeout(hiding)
  hiding = setTimeout(() => { $('alert').textContent = '' }, 6000)
}

async function post(button, path) {
  if (button.getAttribute('aria-disabled') === 'true') return
  // Starting can be done as fast as one can click, the rest once.
  if (!button.dataset.kind) button.setAttribute('aria-disabled', 'true')
  try {
    const response = await fetch(path, { method: 'POST' })
    if (!response.ok) complain((await response.json()).error)
  } catch {
    complain('The request did not get through. Try again in a moment.')
  } finally {
    button.removeAttribute('aria-disabled')
  }
}

document.addEventListener('click', ({ target }) => {
  const button = target.closest('button')
  if (!button) return
  const { kind, count = 1, verb } = button.dataset
  if (kind) post(button, `/tasks?kind=${kind}&count=${count}`)
  else if (button.id === 'clear') post(button, '/tasks/clear')
  else if (verb) post(button, `/tasks/${encodeURIComponent(button.closest('.task').dataset.id)}/${verb}`)
})

connect()
