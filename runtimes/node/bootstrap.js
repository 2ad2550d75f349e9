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

const CHANNEL = 3;
const [EVENT, READY, RESPONSE, ERROR, INIT_ERROR, LOG] = [1, 2, 3, 4, 5, 6];

const current = { requestId: undefined, sequence: 0, settle: null };

function frame(kind, body) {
  const head = Buffer.allocUnsafe(9);
  head.writeUInt32LE(body.length + 5, 0);
  head.writeUInt8(kind, 4);
  head.writeUInt32LE(current.sequence, 5);
  return body.length < 65536 ? Buffer.concat([head, body]) : [head, body];
}

// Written synchronously, so that it is out before the process may end; a full channel is waited for.
function send(kind, body) {
  const frames = frame(kind, body);
  for (const part of Array.isArray(frames) ? frames : [frames]) {
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
      process.exit(128 + 1);
    }
  };
}

// Responses are gathered, never streamed: a function that asks for streaming is told so where it asks.
function refuseStreaming() {
  const refuse = () => {
    const error = new Error('Response streaming is not supported by this platform yet.');
    error.name = 'Runtime.InvalidStreamingOperation';
    throw error;
  };
  globalThis.awslambda = { streamifyResponse: refuse, HttpResponseStream: { from: refuse } };
}

// AWS's runtimes from Node 24 on know no callbacks.
function refuseCallbacks(handler) {
  const major = Number(process.versions.node.split('.')[0]);
  if (major < 24 || handler.length < 3) return;
  const error = new Error(
    'ERROR: AWS Lambda has removed support for callback-based function handlers starting with Node.js 24. You need to modify this function to use a supported handler signature to use Node.js 24 or later. For more information see https://docs.aws.amazon.com/lambda/latest/dg/nodejs-handler.html.',
  );
  error.name = 'Runtime.CallbackHandlerDeprecated';
  throw error;
}

function listen(handler) {
  const socket = new net.Socket({ fd: CHANNEL, readable: true, writable: false });
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
      current.sequence = event.readUInt32LE(1);
      const split = 9 + event.readUInt32LE(5);
      handle(handler, socket, JSON.parse(event.toString('utf8', 9, split)), event.toString('utf8', split));
    }
  });
  socket.on('end', () => process.exit(0));
  socket.on('error', () => process.exit(0));
  // The loop is empty: a callback's answer may go out; who never answered answers null.
  process.on('beforeExit', () => current.idle && current.idle());
  send(READY, Buffer.alloc(0));
}

async function main() {
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
  try {
    refuseStreaming();
    handler = await load(process.env.LAMBDA_TASK_ROOT, process.env._HANDLER);
    refuseCallbacks(handler);
  } catch (error) {
    console.error('Uncaught Exception', `\t${logging.detail(error)}`);
    sendError(INIT_ERROR, error);
    process.exit(1);
  }
  listen(handler);
}

main();
