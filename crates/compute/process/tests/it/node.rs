//! Node functions behave as on AWS.

use compute_api::{Exit, InitOutcome, Outcome};
use serde_json::{Value, json};

use crate::harness::{bench, block_on, event, failure, spec, success, texts};

const RUNTIME: &str = "nodejs20.x";

/// Says why when the host has no Node.
fn has_node() -> bool {
    let found = compute_api::FunctionHost::runtimes(&bench().host).chosen(RUNTIME).is_some();
    if !found {
        println!("left out: the host has no {RUNTIME}");
    }
    found
}

#[test]
fn every_form_of_handler_answers() {
    if !has_node() {
        return;
    }
    block_on(async {
        for (file, code) in [
            ("index.js", "exports.handler = async (event) => ({ got: event });"),
            ("index.js", "exports.handler = (event, context, callback) => callback(null, { got: event });"),
            (
                "index.js",
                "exports.handler = (event, context) => { setTimeout(() => context.succeed({ got: event }), 5); };",
            ),
            ("index.js", "exports.handler = (event, context) => context.done(null, { got: event });"),
            ("index.mjs", "export const handler = async (event) => ({ got: event });"),
            (
                "index.mjs",
                "const x = await Promise.resolve(1); export const handler = async (event) => ({ got: event });",
            ),
            ("index.cjs", "exports.handler = async (event) => ({ got: event });"),
        ] {
            let (spec, _lines) = bench().function(RUNTIME, file, code);
            let completion = bench().once(spec, r#"{"a":1}"#).await;
            assert_eq!(success(&completion), json!({"got": {"a": 1}}), "{code}");
        }
    });
}

#[test]
fn a_callback_waits_for_an_empty_event_loop_unless_told() {
    if !has_node() {
        return;
    }
    block_on(async {
        let code = "exports.handler = (event, context, callback) => {
            if (event.now) context.callbackWaitsForEmptyEventLoop = false;
            setTimeout(() => {}, 300);
            callback(null, context.getRemainingTimeInMillis() > 0);
        };";
        let (spec, _lines) = bench().function(RUNTIME, "index.js", code);
        let mut environment = bench().start(spec).await;
        let waited = compute_api::Environment::invoke(&mut environment, event("a", "{}")).await;
        assert_eq!(success(&waited), true);
        assert!(waited.figures.duration.as_millis() >= 290, "{:?}", waited.figures);
        let now = compute_api::Environment::invoke(&mut environment, event("b", r#"{"now":true}"#)).await;
        assert_eq!(success(&now), true);
        assert!(now.figures.duration.as_millis() < 290, "{:?}", now.figures);
        let (spec, _lines) = bench().function(RUNTIME, "index.js", "exports.handler = (event) => {};");
        assert_eq!(success(&bench().once(spec, "{}").await), Value::Null);
    });
}

#[test]
fn errors_have_the_documents_of_aws() {
    if !has_node() {
        return;
    }
    block_on(async {
        for (code, error_type, message) in [
            ("exports.handler = async () => { throw new TypeError('bad'); };", "TypeError", "bad"),
            ("exports.handler = () => { throw new Error('sync'); };", "Error", "sync"),
            ("exports.handler = (e, c, cb) => cb(new RangeError('cb'));", "RangeError", "cb"),
            ("exports.handler = (e, c, cb) => cb('text');", "string", "text"),
            (
                "exports.handler = async () => { const a = {}; a.a = a; return a; };",
                "Runtime.JSONStringifyError",
                "Unable to stringify response body",
            ),
            (
                "exports.handler = async () => { setTimeout(() => { throw new Error('late'); }, 1); await new Promise(() => setTimeout(() => {}, 2000)); };",
                "Error",
                "late",
            ),
            (
                "exports.handler = async () => { Promise.reject(new Error('lost')); await new Promise((r) => setTimeout(r, 2000)); };",
                "Runtime.UnhandledPromiseRejection",
                "Error: lost",
            ),
        ] {
            let (spec, _lines) = bench().function(RUNTIME, "index.js", code);
            let (seen, document) = failure(&bench().once(spec, "{}").await);
            assert_eq!((seen.as_str(), document["errorMessage"].as_str().unwrap()), (error_type, message), "{code}");
            assert!(document["trace"].is_array());
        }
    });
}

#[test]
fn a_failed_initialisation_says_what_aws_says() {
    if !has_node() {
        return;
    }
    block_on(async {
        for (handler, code, error_type, message) in [
            (
                "index.handler",
                "require('nothing-like-this');",
                "Runtime.ImportModuleError",
                "Error: Cannot find module 'nothing-like-this'",
            ),
            ("other.handler", "", "Runtime.ImportModuleError", "Error: Cannot find module 'other'"),
            (
                "index.missing",
                "exports.handler = 1;",
                "Runtime.HandlerNotFound",
                "index.missing is undefined or not exported",
            ),
            ("index.handler", "exports.handler = 1;", "Runtime.HandlerNotFound", "index.handler is not a function"),
            (
                "index.handler",
                "exports.handler = (",
                "Runtime.UserCodeSyntaxError",
                "SyntaxError: Unexpected end of input",
            ),
            ("index", "", "Runtime.MalformedHandlerName", "Bad handler"),
            ("index.handler", "throw new Error('at init');", "Error", "at init"),
            (
                "index.handler",
                "exports.handler = () => {};\nexports.handler[Symbol.for('aws.lambda.runtime.handler.streaming')] = 'request';",
                "Runtime.MalformedStreamingHandler",
                "Only response streaming is supported.",
            ),
        ] {
            let (mut spec, _lines) = bench().function(RUNTIME, "index.js", code);
            handler.clone_into(&mut spec.handler);
            let failure = bench().init_failure(spec).await;
            let InitOutcome::Error { error_type: seen, payload } = &failure.outcome else { panic!("{failure:?}") };
            let document: Value = serde_json::from_slice(payload).unwrap();
            assert_eq!(seen, error_type, "{code}");
            let seen = document["errorMessage"].as_str().unwrap();
            assert!(seen.starts_with(message), "{seen}");
        }
        let (spec, _lines) = bench().function(RUNTIME, "index.js", "process.exit(4);");
        assert_eq!(bench().init_failure(spec).await.outcome, InitOutcome::Exited(Exit::Status(4)));
        let (spec, _lines) = bench().function(RUNTIME, "index.js", "exports.handler = async () => process.exit(2);");
        assert_eq!(bench().once(spec, "{}").await.outcome, Outcome::Exited(Exit::Status(2)));
    });
}

#[test]
fn the_console_prints_as_on_aws() {
    if !has_node() {
        return;
    }
    block_on(async {
        let code = "exports.handler = async () => { console.log('a %s', 'b'); console.error({ k: 1 }); process.stdout.write('plain\\n'); };";
        let (spec, mut lines) = bench().function(RUNTIME, "index.js", code);
        success(&bench().once(spec, "{}").await);
        let mut seen = texts(&mut lines);
        seen.sort_by_key(|line| line == "plain\n");
        let fields: Vec<Vec<&str>> = seen[..2].iter().map(|line| line.split('\t').collect()).collect();
        assert_eq!(fields[0][1..], ["r-1", "INFO", "a b\n"]);
        assert_eq!(fields[1][1..], ["r-1", "ERROR", "{ k: 1 }\n"]);
        assert_eq!(seen[2], "plain\n");
    });
}

#[test]
fn a_package_and_its_type_are_respected() {
    if !has_node() {
        return;
    }
    block_on(async {
        let code = bench().code(
            "esm",
            &[
                ("package.json", r#"{"type":"module"}"#),
                (
                    "src/app.js",
                    "import { name } from 'dep'; export const api = { go: async () => name + import.meta.url };",
                ),
                ("node_modules/dep/package.json", r#"{"name":"dep","main":"m.js"}"#),
                ("node_modules/dep/m.js", "exports.name = 'dep:';"),
            ],
        );
        let (sink, _lines) = compute_api::output::channel(1 << 20);
        let answer = success(&bench().once(spec(RUNTIME, "src/app.api.go", code, sink), "{}").await);
        assert_eq!(answer, "dep:file:///var/task/src/app.js");
    });
}
