// What pages can do beyond what they are without a script: they stay up to date, and stand still where somebody works
// with them.  Nothing is decided here: all that is shown comes from the server as it is.

(() => {
  'use strict'

  const root = document.documentElement
  const KEY = 'torrelque-theme'
  let store = null
  try {
    store = window.localStorage
  } catch {
    // A browser that keeps nothing has the colours of the system.
  }
  const theme = store?.getItem(KEY)
  if (theme === 'dark' || theme === 'light') root.dataset.theme = theme

  document.addEventListener('DOMContentLoaded', () => {
    const body = document.body
    const notice = document.getElementById('notice')
    const button = document.getElementById('pause')
    // Where the window is narrow, the page that is shown is among those at its edge, or beyond.
    const tabs = document.querySelector('.tabs')
    const tab = tabs?.querySelector('[aria-current]')
    if (tab) tabs.scrollLeft = tab.offsetLeft - (tabs.clientWidth - tab.offsetWidth) / 2
    const address = body.dataset.live
    // Ages are counted on by what has passed here since the server said when it is; its clock and ours need not agree.
    let said = Number(body.dataset.now)
    let heard = performance.now()
    let source = null
    let paused = false
    let away = ''
    let waiting = {}
    let retry = 1000
    let opened = 0

    // Ages

    const UNITS = [[86400, 3600, 'd', 'h'], [3600, 60, 'h', 'm'], [60, 1, 'm', 's']]

    function spell(seconds) {
      if (seconds < 0.9995) return `${Math.round(seconds * 1000)} ms`
      const whole = Math.floor(seconds + 0.0005)
      for (const [size, small, unit, below] of UNITS) {
        if (whole >= size) {
          const rest = Math.floor((whole % size) / small)
          return `${Math.floor(whole / size).toLocaleString('en')} ${unit}${rest ? ` ${rest} ${below}` : ''}`
        }
      }
      return `${whole} s`
    }

    function count() {
      if (!said) return
      const now = said + (performance.now() - heard) / 1000
      for (const time of document.querySelectorAll('time[data-since]')) {
        const since = Number(time.dataset.since)
        const text = spell(Math.max(0, 'until' in time.dataset ? since - now : Math.floor(now - since)))
        if (text === '0 ms') time.textContent = '0 s'
        else if (time.textContent !== text) time.textContent = text
      }
    }

    // Whether somebody works with the page, so that nothing may move

    function busy() {
      const selection = document.getSelection()
      if (selection && !selection.isCollapsed && selection.toString()) return 'text is selected'
      const focus = document.activeElement
      if (focus?.matches('main input:not([type=checkbox]), main select, main textarea')) return 'a form is in use'
      if (document.querySelector('main input[type=checkbox]:checked')) return 'tasks are chosen'
      if (document.querySelector('details.menu[open]')) return 'a menu is open'
      return ''
    }

    function tell() {
      if (!notice || !address) return
      const why = paused ? 'paused' : busy()
      const text = away || (why ? (paused ? 'paused' : `paused: ${why}`) : source ? 'live' : 'connecting…')
      const state = away ? 'away' : why ? 'paused' : source ? 'live' : 'away'
      if (notice.textContent !== text) notice.textContent = text
      notice.dataset.state = state
      root.classList.toggle('stale', Boolean(away))
    }

    // Parts of the page

    function replace(id, html) {
      const part = document.getElementById(id)
      if (!part) return
      const folds = [...part.querySelectorAll('details[id]')].map(it => [it.id, it.open])
      const focus = part.contains(document.activeElement) ? trace(part, document.activeElement) : null
      const scrolled = [...part.querySelectorAll('.scroll, pre')].map(it => [it.scrollLeft, it.scrollTop])
      part.innerHTML = html
      for (const [name, open] of folds) document.getElementById(name)?.toggleAttribute('open', open)
      part.querySelectorAll('.scroll, pre').forEach((it, place) => {
        if (scrolled[place]) [it.scrollLeft, it.scrollTop] = scrolled[place]
      })
      if (focus) find(part, focus)?.focus({ preventScroll: true })
      prepare(part)
    }

    function trace(part, element) {
      return { href: element.getAttribute('href'), id: element.id, place: focusable(part).indexOf(element) }
    }

    function find(part, { href, id, place }) {
      const all = focusable(part)
      return (id && document.getElementById(id)) || (href && all.find(it => it.getAttribute('href') === href)) || all[place]
    }

    function focusable(part) {
      return [...part.querySelectorAll('a[href], button, summary, input')]
    }

    // Rows do not move away under a pointer that is about to press something.

    let moved = -Infinity
    document.addEventListener('pointermove', () => (moved = performance.now()), { passive: true })

    function pointed(part) {
      return performance.now() - moved < 3000 && part.querySelector('tr:hover, li:hover, a:hover, button:hover, summary:hover')
    }

    function apply() {
      if (paused || busy()) return
      for (const [id, html] of Object.entries(waiting)) {
        const part = document.getElementById(id)
        if (part && pointed(part)) continue
        delete waiting[id]
        replace(id, html)
      }
    }

    function take(event) {
      const frame = JSON.parse(event.data)
      retry = 1000
      away = frame.away
      if (frame.now) {
        said = frame.now
        heard = performance.now()
      }
      Object.assign(waiting, frame.parts)
      apply()
      tell()
      count()
    }

    // The stream

    function open() {
      if (source || !address || document.hidden || paused) return
      source = new EventSource(address)
      opened = performance.now()
      source.onopen = () => tell()
      source.onmessage = take
      source.addEventListener('end', () => {
        close()
        // One that ends at once is of a server that is to stop.
        setTimeout(open, performance.now() - opened < 2000 ? 2000 : 0)
      })
      source.onerror = () => {
        const refused = source.readyState === EventSource.CLOSED
        close()
        away = away || 'the connection is lost'
        tell()
        if (refused) ask()
        setTimeout(open, retry)
        retry = Math.min(retry * 2, 15000)
      }
    }

    // A stream that is refused does not say why; the page itself does.

    async function ask() {
      try {
        const answer = await fetch(location.href, { method: 'HEAD', redirect: 'manual', cache: 'no-store' })
        if (answer.type === 'opaqueredirect' || answer.status === 401 || answer.status === 403) {
          away = 'you may not look any more: open the page anew'
          tell()
        }
      } catch {
        // The server is away, as is told already.
      }
    }

    function close() {
      source?.close()
      source = null
    }

    if (address) {
      document.addEventListener('visibilitychange', () => {
        if (document.hidden) close()
        else open()
        tell()
      })
      // A page that is kept for the back button has no stream meanwhile, and is as it was when one comes back.
      addEventListener('pagehide', close)
      addEventListener('pageshow', () => {
        open()
        tell()
      })
      setInterval(() => {
        apply()
        tell()
      }, 300)
      open()
    }
    setInterval(count, 1000)
    count()

    if (button) {
      button.hidden = false
      button.addEventListener('click', () => {
        paused = !paused
        button.setAttribute('aria-pressed', String(paused))
        button.textContent = paused ? 'go on' : 'pause'
        if (paused) close()
        else open()
        apply()
        tell()
      })
    }

    // Dark and light

    const switcher = document.getElementById('theme')
    if (switcher) {
      switcher.hidden = false
      switcher.addEventListener('click', () => {
        const dark = root.dataset.theme
          ? root.dataset.theme === 'dark'
          : matchMedia('(prefers-color-scheme: dark)').matches
        root.dataset.theme = dark ? 'light' : 'dark'
        store?.setItem(KEY, root.dataset.theme)
      })
    }

    // Small things

    function prepare(part) {
      for (const it of part.querySelectorAll('.copy[hidden], #all[hidden]')) it.hidden = false
    }

    document.addEventListener('click', event => {
      const copy = event.target.closest?.('.copy')
      if (copy) {
        navigator.clipboard?.writeText(copy.dataset.copy).then(() => {
          copy.textContent = 'copied'
          setTimeout(() => (copy.textContent = 'copy'), 1500)
        })
      }
      for (const menu of document.querySelectorAll('details.menu[open]')) {
        if (!menu.contains(event.target)) menu.open = false
      }
    })
    document.addEventListener('keydown', event => {
      const typing = event.target.matches?.('input, select, textarea') || event.ctrlKey || event.metaKey || event.altKey
      const field = document.querySelector('main input:not([type=hidden], [type=checkbox], [type=radio])')
      if (event.key === '/' && !typing && field) {
        event.preventDefault()
        field.focus()
      } else if (event.key === 'p' && !typing) {
        button?.click()
      }
      if (event.key !== 'Escape') return
      for (const menu of document.querySelectorAll('details.menu[open]')) {
        menu.open = false
        menu.querySelector('summary').focus()
      }
    })
    document.addEventListener('change', event => {
      if (event.target.id === 'all') {
        for (const box of document.querySelectorAll('.pick input[name=id]')) box.checked = event.target.checked
      }
      tell()
    })
    document.addEventListener('submit', event => {
      // An act is sent once.  The button is off only after the browser has taken its value.
      const form = event.target
      if (form.method !== 'post') return
      setTimeout(() => {
        for (const it of form.querySelectorAll('button')) it.disabled = true
      })
    })
    addEventListener('pageshow', event => {
      // The back button may bring a page as it was left.
      if (!event.persisted) return
      for (const it of document.querySelectorAll('form[method=post] button')) it.disabled = false
    })
    prepare(document)
    tell()
  })
})()
