// Streamed responses, as AWS's Node runtime has them: `awslambda.streamifyResponse(handler)` marks a handler,
// `awslambda.HttpResponseStream.from(stream, metadata)` puts status, headers and cookies before the body, and the handler
// gets a writable stream between event and context. What the platform is slow to take makes the stream wait.
'use strict';

const { Writable } = require('stream');

const STREAMING = Symbol.for('aws.lambda.runtime.handler.streaming');
const HIGH_WATER_MARK = Symbol.for('aws.lambda.runtime.handler.streaming.highWaterMark');
const DEFAULT_TYPE = 'application/octet-stream';
const INTEGRATION_TYPE = 'application/vnd.awslambda.http-integration-response';
const DELIMITER = Buffer.alloc(8);
// Pieces wait for a slow reader one by one: they are small.
const PIECE = 64 * 1024;

function named(name, message) {
  const error = new Error(message);
  error.name = name;
  return error;
}

/** Puts `awslambda` into the global scope, unless the function asked for none. */
exports.install = () => {
  if (['1', 'true'].includes(process.env.AWS_LAMBDA_NODEJS_NO_GLOBAL_AWSLAMBDA)) return;
  globalThis.awslambda = {
    ...globalThis.awslambda,
    streamifyResponse(handler, options) {
      handler[STREAMING] = 'response';
      if (typeof options?.highWaterMark === 'number') handler[HIGH_WATER_MARK] = Math.trunc(options.highWaterMark);
      return handler;
    },
    HttpResponseStream: class HttpResponseStream {
      static from(stream, metadata) {
        stream.setContentType(INTEGRATION_TYPE);
        const prelude = JSON.stringify(metadata);
        stream._onBeforeFirstWrite = (write) => {
          write(prelude);
          write(DELIMITER);
        };
        return stream;
      }
    },
  };
};

/** Whether a handler streams. */
exports.streams = (handler) => {
  const kind = handler[STREAMING];
  if (kind && kind !== 'response') {
    throw named('Runtime.MalformedStreamingHandler', 'Only response streaming is supported.');
  }
  return Boolean(kind);
};

class ResponseStream extends Writable {
  #channel;
  #type = DEFAULT_TYPE;
  #written = false;
  #begun = false;

  constructor(channel, highWaterMark) {
    super({ ...(highWaterMark ? { highWaterMark } : {}), decodeStrings: true });
    this.#channel = channel;
  }

  setContentType(type) {
    if (this.#written) throw named('Runtime.InvalidStreamingOperation', 'Cannot set content-type, too late.');
    this.#type = String(type);
  }

  #first() {
    if (this.#written) return;
    this.#written = true;
    if (typeof this._onBeforeFirstWrite === 'function') this._onBeforeFirstWrite((chunk) => super.write(chunk));
  }

  write(chunk, encoding, callback) {
    const raw = typeof chunk === 'string' || chunk instanceof Uint8Array;
    this.#first();
    return super.write(raw ? chunk : JSON.stringify(chunk), encoding, callback);
  }

  end(chunk, encoding, callback) {
    const ends = typeof chunk === 'function' || chunk === undefined || chunk === null;
    if (!this.writableEnded) {
      this.#first();
      if (!ends) this.write(chunk, typeof encoding === 'string' ? encoding : undefined);
    }
    return super.end([callback, encoding, chunk].find((value) => typeof value === 'function'));
  }

  #begin() {
    if (this.#begun) return;
    this.#begun = true;
    this.#channel.begin(this.#type);
  }

  _write(chunk, _, callback) {
    this.#begin();
    for (let at = 0; at < chunk.length; at += PIECE) {
      const last = at + PIECE >= chunk.length;
      this.#channel.body(chunk.subarray(at, at + PIECE), last ? callback : undefined);
    }
    if (chunk.length === 0) callback();
  }

  _final(callback) {
    this.#begin();
    this.#channel.end(callback);
  }
}

/** Runs a streaming handler to the end of its stream; fails with what it failed with. */
exports.run = async (handler, event, context, channel) => {
  const stream = new ResponseStream(channel, handler[HIGH_WATER_MARK]);
  const done = new Promise((resolve, reject) => {
    stream.once('finish', resolve);
    stream.once('error', reject);
    stream.once('close', () => reject(new Error('Response stream is not finished.')));
  });
  // Nobody waits for it yet when the handler throws first.
  done.catch(() => {});
  try {
    const result = handler(event, stream, context);
    if (!result || typeof result.then !== 'function') throw new Error('Streaming does not support non-async handlers.');
    if ((await result) !== undefined) console.warn('Streaming handlers ignore return values.');
    await done;
  } catch (error) {
    // What is still written belongs to nothing any more.
    const finished = stream.writableFinished;
    stream.destroy();
    if (!finished) throw error;
  }
};
