// Finds the handler of a Node function: CommonJS or ES module, nested names, AWS's errors for what cannot be found.
'use strict';

const fs = require('fs');
const path = require('path');
const { createRequire } = require('module');

function named(name, message, cause) {
  const error = new Error(message);
  error.name = name;
  if (cause) error.stack = cause.stack;
  return error;
}

function split(handler) {
  if (handler.includes('..')) {
    throw named(
      'Runtime.MalformedHandlerName',
      `'${handler}' is not a valid handler name. Use absolute paths when specifying root directories in handler names.`,
    );
  }
  const base = path.basename(handler);
  const match = /^([^.]*)\.(.*)$/.exec(base);
  if (!match) throw named('Runtime.MalformedHandlerName', 'Bad handler');
  return { folder: handler.slice(0, handler.length - base.length), module: match[1], names: match[2] };
}

function isEsModule(file) {
  if (file.endsWith('.mjs')) return true;
  if (!file.endsWith('.js')) return false;
  for (let folder = path.dirname(file); ; folder = path.dirname(folder)) {
    try {
      return JSON.parse(fs.readFileSync(path.join(folder, 'package.json'), 'utf8')).type === 'module';
    } catch {
      // No readable package.json here: the next folder up decides.
    }
    if (folder === path.dirname(folder) || path.basename(folder) === 'node_modules') return false;
  }
}

async function loadModule(root, folder, module) {
  const stem = path.resolve(root, folder, module);
  const require = createRequire(path.join(root, 'index.js'));
  for (const extension of ['', '.js', '.mjs', '.cjs']) {
    const file = stem + extension;
    if (!fs.existsSync(file) || fs.statSync(file).isDirectory()) continue;
    return isEsModule(file) ? import(file) : require(file);
  }
  return require(require.resolve(`./${path.join(folder, module)}`, { paths: [root] }));
}

exports.load = async (root, handler) => {
  const { folder, module, names } = split(handler);
  let loaded;
  try {
    loaded = await loadModule(root, folder, module);
  } catch (error) {
    if (error instanceof SyntaxError) throw named('Runtime.UserCodeSyntaxError', String(error), error);
    const missing = ['MODULE_NOT_FOUND', 'ERR_MODULE_NOT_FOUND'];
    if (error && missing.includes(error.code)) {
      // AWS names the module as the function's configuration does.
      const text = String(error).replace(`'./${path.join(folder, module)}'`, `'${path.join(folder, module)}'`);
      throw named('Runtime.ImportModuleError', text, null);
    }
    throw error;
  }
  const find = (from) => names.split('.').reduce((at, name) => (at === undefined || at === null ? undefined : at[name]), from);
  const found = find(loaded) ?? find(loaded.default);
  if (found === undefined || found === null) {
    throw named('Runtime.HandlerNotFound', `${handler} is undefined or not exported`);
  }
  if (typeof found !== 'function') throw named('Runtime.HandlerNotFound', `${handler} is not a function`);
  return found;
};
