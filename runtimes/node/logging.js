// `console` as AWS's Node runtime prints it: time, request id, level and text between tabs, or JSON records.
'use strict';

const { format, inspect } = require('util');

const LEVELS = { TRACE: 1, DEBUG: 2, INFO: 3, WARN: 4, ERROR: 5, FATAL: 6 };

exports.describe = (error) => {
  try {
    if (error instanceof Error) {
      return {
        errorType: String(error.name).replaceAll('\x7F', '%7F'),
        errorMessage: String(error.message).replaceAll('\x7F', '%7F'),
        trace: String(error.stack ?? '').replaceAll('\x7F', '%7F').split('\n'),
      };
    }
    return { errorType: typeof error, errorMessage: String(error), trace: [] };
  } catch {
    return {
      errorType: 'handled',
      errorMessage:
        'callback called with Error argument, but there was a problem while retrieving one or more of its message, name, and stack',
      trace: [],
    };
  }
};

/** An error with everything that can be listed of it, as the log shows it. */
exports.detail = (error) => {
  const plain = (value) => {
    if (!(value instanceof Error)) return value;
    const fields = { errorType: value.name, errorMessage: value.message, code: value.code, ...value };
    if (typeof value.stack === 'string') fields.stack = value.stack.split('\n');
    return fields;
  };
  try {
    return JSON.stringify(error, (_, value) => plain(value));
  } catch {
    return JSON.stringify(exports.describe(error));
  }
};

exports.patch = (write, current) => {
  const asJson = (process.env.AWS_LAMBDA_LOG_FORMAT ?? '').toUpperCase() === 'JSON';
  const least = LEVELS[(process.env.AWS_LAMBDA_LOG_LEVEL ?? '').toUpperCase()] ?? LEVELS.TRACE;
  const line = (level, values) => {
    const now = new Date().toISOString();
    const id = current.requestId;
    if (!asJson) {
      const text = values.length === 1 && typeof values[0] === 'string' ? values[0] : format(...values);
      return `${now}\t${id ?? 'undefined'}\t${level}\t${text}\n`;
    }
    const record = { timestamp: now, level, requestId: id };
    if (values.length === 1 && typeof values[0] === 'object' && !(values[0] instanceof Error)) record.message = values[0];
    else record.message = format(...values);
    const error = values.find((value) => value instanceof Error);
    if (error) {
      const { errorType, errorMessage, trace } = exports.describe(error);
      Object.assign(record, { errorType, errorMessage, stackTrace: trace });
    }
    try {
      return `${JSON.stringify(record)}\n`;
    } catch {
      return `${JSON.stringify({ ...record, message: inspect(record.message) })}\n`;
    }
  };
  const at = (level) => (...values) => {
    if (LEVELS[level] >= least) write(line(level, values));
  };
  console.trace = at('TRACE');
  console.debug = at('DEBUG');
  console.info = console.log = at('INFO');
  console.warn = at('WARN');
  console.error = at('ERROR');
  console.fatal = at('FATAL');
};
