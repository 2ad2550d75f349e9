// Runs Node functions: loads the handler, then answers one event after the other on the private channel.
//
// The channel is descriptor 3: frames of `u32` length (little endian), `u8` kind, `u32` sequence number, body. What a
// function can see of it follows AWS's Node runtime: handler forms, context, console, error documents, and the rule that
// a callback's answer waits until the event loop is empty.
'use strict';

const fs = require('fs');
const net = require('net');
const { load } = require('./loading.js');
const logging = require('./logging.js');
const streaming = require('./streaming.js');

const CHANNEL = 3;
const [EVENT, READY, RESPONSE, ERROR, INIT_ERROR, LOG] = [1, 2, 3, 4, 5, 6];
const [STREAM_BEGIN, STREAM_BODY, STREAM_END, STREAM_ERROR] = [7, 8, 9, 10];
const ASSIGN = 16;

const current = { requestId: undefined, sequence: 0, settle: null };
// The channel as a stream, once events come: pieces of a streamed response wait in it.
let socket = null;

function frame(kind, body) {
  const head = Buffer.allocUnsafe(9);
  head.writeUInt32LE(body.length + 5, 0);
  head.writeUInt8(kind, 4);
  head.writeUInt32LE(current.sequence, 5);
  return body.length < 65536 ? Buffer.concat([head, body]) : [head, body];
}

// Written synchronously, so that it is out before the process may end; a full channel is waited for. Behind pieces of a
// stream that wait, it waits too: frames are never mixed.
function send(kind, body, written) {
  const frames = frame(kind, body);
  const parts = Array.isArray(frames) ? frames : [frames];
  if (written || (socket && socket.writableLength > 0)) {
    parts.forEach((part, index) => socket.write(part, index === parts.length - 1 ? written : undefined));
    return;
  }
  for (const part of parts) {
    for (let at = 0; at < part.length; ) {
      try {
        at += fs.writeSync(CHANNEL, part, at);
      } catch (error) {
        if (error.code !== 'EAGAIN') throw error;
        Atomics.wait(pause, 0, 0, 1);
      }
    }
  }
}
const pause = new Int32Array(new SharedArrayBuffer(4));

function sendError(kind, error) {
  const document = logging.describe(error);
  const type = Buffer.from(document.errorType);
  const length = Buffer.allocUnsafe(4);
  length.writeUInt32LE(type.length);
  send(kind, Buffer.concat([length, type, Buffer.from(JSON.stringify(document))]));
}

const write = (text) => send(LOG, Buffer.from(text));

function serialise(value) {
  try {
    return Buffer.from(JSON.stringify(value === undefined ? null : value) ?? 'null');
  } catch {
    const error = new Error('Unable to stringify response body');
    error.name = 'Runtime.JSONStringifyError';
    throw error;
  }
}

function fail(error) {
  console.error('Invoke Error', `\t${logging.detail(error instanceof Error ? error : new Error(String(error)))}`);
  sendError(ERROR, error);
}

// Answers at most once per event.
function makeSettler(socket) {
  let open = true;
  return (error, value) => {
    if (!open) return;
    open = false;
    current.settle = null;
    socket.ref();
    if (error !== undefined && error !== null) return fail(error);
    try {
      send(RESPONSE, serialise(value));
    } catch (failure) {
      fail(failure);
    }
  };
}

function parseHeader(text, name) {
  if (!text) return undefined;
  try {
    return JSON.parse(text);
  } catch (error) {
    const failure = new Error(`Failed to parse ${name} as JSON: ${error.message}`);
    failure.name = 'Runtime.PlatformError';
    throw failure;
  }
}

function makeContext(about, waits) {
  const variables = process.env;
  return {
    get callbackWaitsForEmptyEventLoop() {
      return waits.forEmptyLoop;
    },
    set callbackWaitsForEmptyEventLoop(value) {
      waits.forEmptyLoop = value;
    },
    functionVersion: variables.AWS_LAMBDA_FUNCTION_VERSION,
    functionName: variables.AWS_LAMBDA_FUNCTION_NAME,
    memoryLimitInMB: variables.AWS_LAMBDA_FUNCTION_MEMORY_SIZE,
    logGroupName: variables.AWS_LAMBDA_LOG_GROUP_NAME,
    logStreamName: variables.AWS_LAMBDA_LOG_STREAM_NAME,
    clientContext: parseHeader(about.client_context, 'lambda-runtime-client-context'),
    identity: parseHeader(about.cognito_identity, 'lambda-runtime-cognito-identity'),
    invokedFunctionArn: about.arn,
    awsRequestId: about.request_id,
    getRemainingTimeInMillis: () => Math.max(0, about.deadline_ms - Date.now()),
  };
}

function handle(handler, socket, about, payload) {
  current.requestId = about.request_id;
  if (about.trace_id) process.env._X_AMZN_TRACE_ID = about.trace_id;
  else delete process.env._X_AMZN_TRACE_ID;
  const settle = makeSettler(socket);
  const waits = { forEmptyLoop: true };
  // Waiting for the next event must not keep the loop busy while this one runs.
  socket.unref();
  let answer = [undefined, null];
  current.settle = (error) => settle(error);
  current.idle = () => settle(...answer);
  const called = (error, value) => {
    answer = [error, value];
    if (!waits.forEmptyLoop || (error !== undefined && error !== null)) setImmediate(() => settle(error, value));
  };
  try {
    const context = makeContext(about, waits);
    context.done = called;
    context.fail = (error) => called(error ?? 'handled');
    context.succeed = (value) => called(null, value);
    const result = handler(JSON.parse(payload), context, called);
    if (result && typeof result.then === 'function') {
      result.then((value) => settle(null, value), (error) => settle(error ?? new Error(String(error))));
    }
  } catch (error) {
    settle(error ?? new Error(String(error)));
  }
}

// An error that nobody caught: it is the event's answer, and the end of the process.
function lethal(log, make) {
  return (cause, promise) => {
    const error = make(cause, promise);
    console.error(log, `\t${logging.detail(error)}`);
    try {
      if (current.settle || current.requestId === undefined) {
        sendError(current.requestId === undefined ? INIT_ERROR : ERROR, error);
      }
    } finally {
      leave();
    }
  };
}

// What waits in the channel goes out first, if somebody takes it.
function leave() {
  const exit = () => process.exit(128 + 1);
  if (!socket || socket.writableLength === 0) exit();
  socket.ref();
  socket.write('', exit);
  setTimeout(exit, 1000);
}

// A handler that streams: its answer is what it writes, and the end of that. It may go on after the end; the next event
// waits for it.
async function handleStreaming(handler, about, payload) {
  current.requestId = about.request_id;
  if (about.trace_id) process.env._X_AMZN_TRACE_ID = about.trace_id;
  else delete process.env._X_AMZN_TRACE_ID;
  const { sequence } = current;
  const tell = (kind, body, written) => {
    if (sequence === current.sequence) send(kind, body, written);
    else if (written) written();
  };
  const channel = {
    begin: (type) => tell(STREAM_BEGIN, Buffer.from(type)),
    body: (bytes, written) => tell(STREAM_BODY, bytes, written ?? (() => {})),
    end: (written) => tell(STREAM_END, Buffer.alloc(0), written),
  };
  let open = true;
  const settle = (error) => {
    if (!open) return;
    open = false;
    current.settle = null;
    socket.ref();
    if (error === undefined) return;
    console.error('Invoke Error', `\t${logging.detail(error instanceof Error ? error : new Error(String(error)))}`);
    sendError(STREAM_ERROR, error);
  };
  socket.unref();
  current.settle = settle;
  // A stream that nobody ends is waited for until the function's time is over.
  current.idle = () => socket.ref();
  try {
    await streaming.run(handler, JSON.parse(payload), makeContext(about, {}), channel);
    settle(undefined);
  } catch (error) {
    settle(error ?? new Error(String(error)));
  }
}

// AWS's runtimes from Node 24 on know no callbacks.
function refuseCallbacks(handler) {
  const major = Number(process.versions.node.split('.')[0]);
  if (major < 24 || handler.length < 3 || streaming.streams(handler)) return;
  const error = new Error(
    'ERROR: AWS Lambda has removed support for callback-based function handlers starting with Node.js 24. You need to modify this function to use a supported handler signature to use Node.js 24 or later. For more information see https://docs.aws.amazon.com/lambda/latest/dg/nodejs-handler.html.',
  );
  error.name = 'Runtime.CallbackHandlerDeprecated';
  throw error;
}

function listen(handler, streams) {
  socket = new net.Socket({ fd: CHANNEL, readable: true, writable: true });
  let before = Promise.resolve();
  let parts = [];
  let size = 0;
  let need = 4;
  socket.on('data', (chunk) => {
    parts.push(chunk);
    size += chunk.length;
    while (size >= need) {
      let all = parts.length === 1 ? parts[0] : Buffer.concat(parts, size);
      const length = all.readUInt32LE(0) + 4;
      if (size < length) {
        need = length;
        parts = [all];
        return;
      }
      const event = all.subarray(4, length);
      all = all.subarray(length);
      parts = all.length ? [all] : [];
      size = all.length;
      need = 4;
      const sequence = event.readUInt32LE(1);
      const split = 9 + event.readUInt32LE(5);
      const about = JSON.parse(event.toString('utf8', 9, split));
      const payload = event.toString('utf8', split);
      if (streams) {
        before = before.then(() => {
          current.sequence = sequence;
          return handleStreaming(handler, about, payload);
        });
      } else {
        current.sequence = sequence;
        handle(handler, socket, about, payload);
      }
    }
  });
  socket.on('end', () => process.exit(0));
  socket.on('error', () => process.exit(0));
  // The loop is empty: a callback's answer may go out; who never answered answers null.
  process.on('beforeExit', () => current.idle && current.idle());
  send(READY, Buffer.alloc(0));
}

// Reads exactly so many bytes of the channel, waiting for them.
function readNow(length) {
  const bytes = Buffer.allocUnsafe(length);
  for (let at = 0; at < length; ) {
    const read = fs.readSync(CHANNEL, bytes, at, length - at);
    // The platform is gone: there is nobody to wait for.
    if (read === 0) process.exit(0);
    at += read;
  }
  return bytes;
}

// A runtime that was booted ahead of need waits here for its function, and becomes what a process would be that had been
// started for it.
function beAssigned() {
  const frame = readNow(readNow(4).readUInt32LE(0));
  if (frame[0] !== ASSIGN) process.exit(1);
  const { variables } = JSON.parse(frame.toString('utf8', 5));
  const given = new Map(variables.map((text) => [text.slice(0, text.indexOf('=')), text.slice(text.indexOf('=') + 1)]));
  // What is right already is left alone: a time zone that is written is looked for anew.
  for (const name of Object.keys(process.env)) if (!given.has(name)) delete process.env[name];
  for (const [name, value] of given) if (process.env[name] !== value) process.env[name] = value;
  process.chdir('/var/task');
}

async function main() {
  if (process.argv[2] === 'wait') beAssigned();
  logging.patch(write, current);
  process.argv = [process.argv[0], '/var/runtime/index.mjs'];
  process.on('uncaughtException', lethal('Uncaught Exception', (error) => error));
  process.on(
    'unhandledRejection',
    lethal('Unhandled Promise Rejection', (reason, promise) => {
      const error = new Error(reason instanceof Error ? `${reason.name}: ${reason.message}` : String(reason));
      error.name = 'Runtime.UnhandledPromiseRejection';
      Object.assign(error, { reason, promise });
      if (reason instanceof Error && reason.stack) error.stack = `${error.name}: ${error.message}\n${reason.stack.split('\n').slice(1).join('\n')}`;
      return error;
    }),
  );
  let handler;
  let streams;
  try {
    streaming.install();
    handler = await load(process.env.LAMBDA_TASK_ROOT, process.env._HANDLER);
    refuseCallbacks(handler);
    streams = streaming.streams(handler);
  } catch (error) {
    console.error('Uncaught Exception', `\t${logging.detail(error)}`);
    sendError(INIT_ERROR, error);
    process.exit(1);
  }
  listen(handler, streams);
}

main();
