// Flows of bullmq, of Node: the commands of `flows.py`, in the language that it comes from.
//
// Its environment is the folder in which it is started, with bullmq and its client library in `node_modules`.
import { createRequire } from 'node:module'
import { createInterface } from 'node:readline'
import { readFileSync } from 'node:fs'
import { performance } from 'node:perf_hooks'

const { FlowProducer, Worker } = createRequire(`${process.cwd()}/`)('bullmq')
const options = { removeOnComplete: true }
const job = (number, children) => ({ name: 'noop', queueName: 'bench', data: { number }, opts: options, children })

let connection
let producer

function chain(length) {
  let flow
  for (let number = 0; number < length; number++) flow = job(number, flow ? [flow] : [])
  return producer.add(flow)
}

const commands = {
  async hello() {
    const version = (name) => JSON.parse(readFileSync(`node_modules/${name}/package.json`)).version
    return { versions: { bullmq: version('bullmq'), ioredis: version('ioredis') }, node: process.version }
  },
  async open({ url }) {
    const where = new URL(url)
    connection = { host: where.hostname, port: Number(where.port), maxRetriesPerRequest: null }
    producer = new FlowProducer({ connection })
    return {}
  },
  async close() {
    await producer.close()
    return {}
  },
  async flow({ shape, size, length, consumers, patience }) {
    const count = shape === 'chains' ? size * length : size + 1
    const began = performance.now()
    if (shape === 'chains') await Promise.all(Array.from({ length: size }, () => chain(length)))
    else await producer.add(job(size, Array.from({ length: size }, (_, number) => job(number, []))))
    const made = performance.now() - began
    let handled = 0
    let first
    let last
    let tell
    const done = new Promise((resolve) => { tell = resolve })
    const handle = async () => {
      if (++handled === 1) first = performance.now()
      if (handled === count) {
        last = performance.now()
        tell()
      }
    }
    const worker = new Worker('bench', handle, { connection, concurrency: consumers })
    worker.on('error', (error) => console.error(error))
    const timer = setTimeout(tell, patience * 1000)
    await done
    clearTimeout(timer)
    last ??= performance.now()
    await worker.close(true)
    if (!handled) throw new Error(`nothing was handled within ${patience} s`)
    return { made: made / 1000, worked: (last - first) / 1000, handled, count }
  },
}

for await (const line of createInterface({ input: process.stdin })) {
  const { do: name, ...fields } = JSON.parse(line)
  let answer
  try {
    answer = await commands[name](fields)
  } catch (error) {
    console.error(error)
    answer = { error: String(error).slice(0, 300) }
  }
  process.stdout.write(`${JSON.stringify(answer)}\n`)
}
process.exit()
