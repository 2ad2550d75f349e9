//! Python functions behave as on AWS.

use std::collections::BTreeSet;

use compute_api::{Environment, Exit, InitOutcome, LogFormat, Outcome, OutputKind, StartError};
use serde_json::{Value, json};

use crate::harness::{bench, block_on, event, failure, success, texts};

#[test]
fn every_python_of_the_host_answers() {
    block_on(async {
        let bench = bench();
        let listing = compute_api::FunctionHost::runtimes(&bench.host);
        let pythons: Vec<_> = listing.available().into_iter().filter(|name| name.starts_with("python")).collect();
        assert!(!pythons.is_empty(), "this host has no Python at all: {listing:?}");
        for name in pythons {
            let code = "import sys\ndef handler(event, context):\n    return list(sys.version_info[:2]) + [event]\n";
            let (spec, _lines) = bench.function(&name, "app.py", code);
            let answer = success(&bench.once(spec, r#"{"a":1}"#).await);
            assert_eq!(format!("python{}.{}", answer[0], answer[1]), name);
            assert_eq!(answer[2], json!({"a": 1}));
        }
    });
}

#[test]
fn a_missing_runtime_is_named_with_those_that_are_there() {
    block_on(async {
        let bench = bench();
        let (mut spec, _lines) = bench.function("python3.11", "app.py", "");
        "ruby3.3".clone_into(&mut spec.runtime);
        match compute_api::FunctionHost::start(&bench.host, spec.into()).await.map(drop) {
            Err(StartError::RuntimeUnsupported { available, .. }) => {
                assert!(available.contains(&"provided.al2".to_owned()))
            }
            other => panic!("{other:?}"),
        }
    });
}

#[test]
fn environment_and_context_are_those_of_aws() {
    let code = r#"
import os, sys
def handler(event, context):
    return {
        "environment": dict(os.environ),
        "context": {name: getattr(context, name) for name in (
            "aws_request_id", "function_name", "function_version", "invoked_function_arn", "log_group_name",
            "log_stream_name", "memory_limit_in_mb")},
        "remaining": context.get_remaining_time_in_millis(),
        "client": context.client_context.custom["k"], "title": context.client_context.client.app_title,
        "identity": context.identity.cognito_identity_id, "repr": repr(context).startswith("LambdaContext(["),
        "cwd": os.getcwd(), "path": sys.path[:1], "user": [os.getuid(), os.getgid()], "argv": sys.argv,
    }
"#;
    block_on(async {
        let (spec, _lines) = bench().function("python3.11", "app.py", code);
        let mut environment = bench().start(spec).await;
        let mut invocation = event("8286a188-ba32-4475-8077-530cd35c09a9", "{}");
        invocation.client_context = Some(r#"{"client":{"app_title":"t"},"custom":{"k":"v"},"env":{}}"#.to_owned());
        invocation.cognito_identity = Some(r#"{"cognitoIdentityId":"i","cognitoIdentityPoolId":"p"}"#.to_owned());
        let answer = success(&environment.invoke(invocation).await);
        environment.stop().await;
        // AWS's list of python3.11, as recorded; without the X-Ray daemon, which is not there.
        let expected = BTreeSet::from([
            "AWS_ACCESS_KEY_ID",
            "AWS_DEFAULT_REGION",
            "AWS_EXECUTION_ENV",
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE",
            "AWS_LAMBDA_FUNCTION_NAME",
            "AWS_LAMBDA_FUNCTION_VERSION",
            "AWS_LAMBDA_INITIALIZATION_TYPE",
            "AWS_LAMBDA_LOG_GROUP_NAME",
            "AWS_LAMBDA_LOG_STREAM_NAME",
            "AWS_LAMBDA_RUNTIME_API",
            "AWS_REGION",
            "AWS_SECRET_ACCESS_KEY",
            "AWS_SESSION_TOKEN",
            "AWS_XRAY_CONTEXT_MISSING",
            "LAMBDA_RUNTIME_DIR",
            "LAMBDA_TASK_ROOT",
            "LANG",
            "LD_LIBRARY_PATH",
            "PATH",
            "PWD",
            "PYTHONPATH",
            "SHLVL",
            "TEST_KEY",
            "TZ",
            "_HANDLER",
            "_X_AMZN_TRACE_ID",
            "AWS_ENDPOINT_URL",
        ]);
        let mut names: BTreeSet<&str> = answer["environment"].as_object().unwrap().keys().map(String::as_str).collect();
        names.remove("LC_CTYPE");
        assert_eq!(names, expected);
        let environment = &answer["environment"];
        for (name, value) in [
            ("AWS_EXECUTION_ENV", "AWS_Lambda_python3.11"),
            (
                "LD_LIBRARY_PATH",
                "/var/lang/lib:/lib64:/usr/lib64:/var/runtime:/var/runtime/lib:/var/task:/var/task/lib:/opt/lib",
            ),
            ("PATH", "/var/lang/bin:/usr/local/bin:/usr/bin/:/bin:/opt/bin"),
            ("TZ", ":UTC"),
            ("LANG", "en_US.UTF-8"),
            ("PYTHONPATH", "/var/runtime"),
            ("SHLVL", "0"),
            ("AWS_LAMBDA_RUNTIME_API", "127.0.0.1:9001"),
            ("AWS_ENDPOINT_URL", "http://127.0.0.1:4566"),
            ("_X_AMZN_TRACE_ID", "Root=1-5759e988-bd862e3fe1be46a994272793;Sampled=0"),
            ("_HANDLER", "app.handler"),
        ] {
            assert_eq!(environment[name], value, "{name}");
        }
        assert_eq!(
            answer["context"],
            json!({
                "aws_request_id": "8286a188-ba32-4475-8077-530cd35c09a9", "function_name": "probe",
                "function_version": "$LATEST",
                "invoked_function_arn": "arn:aws:lambda:us-east-1:000000000000:function:probe",
                "log_group_name": "/aws/lambda/probe", "log_stream_name": "2026/11/23/[$LATEST]0123",
                "memory_limit_in_mb": "256",
            })
        );
        let remaining = answer["remaining"].as_u64().unwrap();
        assert!((1..=10_000).contains(&remaining), "{remaining}");
        assert_eq!((&answer["client"], &answer["title"], &answer["identity"]), (&json!("v"), &json!("t"), &json!("i")));
        assert_eq!(answer["repr"], true);
        assert_eq!((&answer["cwd"], &answer["path"]), (&json!("/var/task"), &json!(["/var/task"])));
        assert_eq!(answer["user"], json!([993, 990]));
    });
}

#[test]
fn a_failed_initialisation_says_what_aws_says() {
    block_on(async {
        let cases: &[(&str, &str, &str, &str)] = &[
            (
                "app.handler",
                "import nothing_like_this",
                "Runtime.ImportModuleError",
                "Unable to import module 'app': No module named 'nothing_like_this'",
            ),
            (
                "other.handler",
                "",
                "Runtime.ImportModuleError",
                "Unable to import module 'other': No module named 'other'",
            ),
            ("app.missing", "x = 1", "Runtime.HandlerNotFound", "Handler 'missing' missing on module 'app'"),
            (
                "app",
                "x = 1",
                "Runtime.MalformedHandlerName",
                "Bad handler 'app': not enough values to unpack (expected 2, got 1)",
            ),
            (
                "sys.exit",
                "x = 1",
                "Runtime.BuiltInModuleConflict",
                "Cannot use built-in module sys as a handler module",
            ),
            (
                "app.handler",
                "def handler(:",
                "Runtime.UserCodeSyntaxError",
                "Syntax error in module 'app': invalid syntax (app.py, line 1)",
            ),
            ("app.handler", "raise KeyError('k')", "KeyError", "'k'"),
        ];
        for (handler, code, error_type, message) in cases {
            let (mut spec, _lines) = bench().function("python3.11", "app.py", code);
            (*handler).clone_into(&mut spec.handler);
            let failure = bench().init_failure(spec).await;
            let InitOutcome::Error { error_type: seen, payload } = &failure.outcome else { panic!("{failure:?}") };
            let document: Value = serde_json::from_slice(payload).unwrap();
            assert_eq!((seen.as_str(), document["errorMessage"].as_str().unwrap()), (*error_type, *message));
            assert_eq!(document["requestId"], "");
            assert!(failure.figures.init_duration.is_some());
            let log = String::from_utf8_lossy(&failure.log_tail).into_owned();
            assert!(log.contains(&format!("[ERROR] {error_type}: {message}")), "{log}");
        }
    });
}

#[test]
fn a_handler_in_a_folder_is_found() {
    block_on(async {
        let code = bench().code("nested", &[("pkg/mod.py", "def go(event, context):\n    return 'in'\n")]);
        let (sink, _lines) = compute_api::output::channel(1 << 20);
        for handler in ["pkg/mod.go", "pkg.mod.go"] {
            let spec = crate::harness::spec("python3.11", handler, code.clone(), sink.clone());
            assert_eq!(success(&bench().once(spec, "{}").await), "in");
        }
    });
}

#[test]
fn an_exception_becomes_the_document_of_aws() {
    let code = "def deeper():\n    raise ValueError('no good')\ndef handler(event, context):\n    deeper()\n";
    block_on(async {
        let (spec, mut lines) = bench().function("python3.11", "app.py", code);
        let (error_type, document) = failure(&bench().once(spec, "{}").await);
        assert_eq!(error_type, "ValueError");
        assert_eq!(
            document,
            json!({
                "errorMessage": "no good", "errorType": "ValueError", "requestId": "r-1",
                "stackTrace": [
                    "  File \"/var/task/app.py\", line 4, in handler\n    deeper()\n",
                    "  File \"/var/task/app.py\", line 2, in deeper\n    raise ValueError('no good')\n",
                ],
            })
        );
        assert_eq!(
            texts(&mut lines),
            ["[ERROR] ValueError: no good\nTraceback (most recent call last):\n\
             \u{a0}\u{a0}File \"/var/task/app.py\", line 4, in handler\n\u{a0}\u{a0}\u{a0}\u{a0}deeper()\n\
             \u{a0}\u{a0}File \"/var/task/app.py\", line 2, in deeper\n\u{a0}\u{a0}\u{a0}\u{a0}raise ValueError('no good')",]
        );
    });
}

#[test]
fn answers_are_marshalled_as_aws_does() {
    block_on(async {
        for (expression, expected) in [
            ("None", "null"),
            ("'gr\u{fc}n'", "\"gr\\u00fcn\""),
            ("__import__('decimal').Decimal('1.10')", "1.10"),
            ("{'a': [__import__('decimal').Decimal('1e3'), True]}", "{\"a\": [1E+3, true]}"),
            ("b'raw'", "raw"),
        ] {
            let code = format!("def handler(event, context):\n    return {expression}\n");
            let (spec, _lines) = bench().function("python3.11", "app.py", &code);
            match bench().once(spec, "{}").await.outcome {
                Outcome::Success { payload } => assert_eq!(String::from_utf8_lossy(&payload), expected),
                other => panic!("{expression}: {other:?}"),
            }
        }
        let (spec, _lines) =
            bench().function("python3.11", "app.py", "def handler(event, context):\n    return {1, 2}\n");
        let (error_type, document) = failure(&bench().once(spec, "{}").await);
        assert_eq!(error_type, "Runtime.MarshalError");
        assert_eq!(document["errorMessage"], "Unable to marshal response: Object of type set is not JSON serializable");
        let (spec, _lines) = bench().function("python3.11", "app.py", "def handler(event, context):\n    return 1\n");
        let (error_type, document) = failure(&bench().once(spec, "{not json").await);
        assert_eq!(error_type, "Runtime.UnmarshalError");
        assert!(document["errorMessage"].as_str().unwrap().starts_with("Unable to unmarshal input: "));
    });
}

#[test]
fn ends_of_the_process_are_told_apart() {
    block_on(async {
        for (statement, exit) in [
            ("sys.exit(3)", Exit::Status(3)),
            ("exit(0)", Exit::Status(0)),
            ("os._exit(7)", Exit::Status(7)),
            ("os.kill(os.getpid(), 9)", Exit::Signal(9)),
            ("os.abort()", Exit::Signal(6)),
        ] {
            let code =
                format!("import os, sys\ndef handler(event, context):\n    print('last words')\n    {statement}\n");
            let (spec, mut lines) = bench().function("python3.11", "app.py", &code);
            let mut environment = bench().start(spec).await;
            let completion = environment.invoke(event("r-1", "{}")).await;
            assert_eq!(completion.outcome, Outcome::Exited(exit), "{statement}");
            assert!(!environment.is_alive());
            assert_eq!(texts(&mut lines), ["last words\n"]);
            let again = environment.invoke(event("r-2", "{}")).await;
            assert!(matches!(again.outcome, Outcome::Lost { .. }));
        }
        let (spec, _lines) = bench().function("python3.11", "app.py", "import sys\nsys.exit(5)\n");
        assert_eq!(bench().init_failure(spec).await.outcome, InitOutcome::Exited(Exit::Status(5)));
    });
}

#[test]
fn log_lines_have_the_form_of_aws() {
    let code = r#"
import logging, sys
print("at init")
logger = logging.getLogger()
logger.setLevel(logging.INFO)
def handler(event, context):
    print("multi\nline")
    sys.stderr.write("to stderr\n")
    logger.info("two\nlines %s", 1)
    logging.getLogger("x").debug("not shown")
    context.log("by context")
"#;
    block_on(async {
        let (spec, mut lines) = bench().function("python3.11", "app.py", code);
        let completion = bench().once(spec, "{}").await;
        success(&completion);
        let mut seen: Vec<_> = std::iter::from_fn(|| lines.try_next()).collect();
        assert_eq!(seen[0].request_id, None);
        assert_eq!(&seen[0].text[..], b"at init\n");
        let record = seen.iter().position(|line| line.text.starts_with(b"[INFO]\t")).unwrap();
        let record = seen.remove(record);
        assert_eq!(record.kind, OutputKind::Log);
        let text = String::from_utf8(record.text.to_vec()).unwrap();
        let fields: Vec<_> = text.split('\t').collect();
        assert_eq!((fields[2], fields[3]), ("r-1", "two\nlines 1\n"));
        assert!(fields[1].len() == 24 && fields[1].ends_with('Z') && fields[1].as_bytes()[10] == b'T', "{}", fields[1]);
        let rest: BTreeSet<_> = seen[1..].iter().map(|l| String::from_utf8_lossy(&l.text).into_owned()).collect();
        assert_eq!(rest, ["multi\n", "line\n", "to stderr\n", "by context"].map(str::to_owned).into());
        assert!(seen[1..].iter().all(|line| line.request_id.as_deref() == Some("r-1")));
    });
}

#[test]
fn json_logging_makes_records() {
    let code =
        "import logging\ndef handler(event, context):\n    logging.getLogger().warning('hm %s', 1, extra={'k': 'v'})\n";
    block_on(async {
        let (mut spec, mut lines) = bench().function("python3.11", "app.py", code);
        spec.logging.format = LogFormat::Json;
        success(&bench().once(spec, "{}").await);
        let record: Value = serde_json::from_str(&texts(&mut lines)[0]).unwrap();
        assert_eq!((&record["level"], &record["message"]), (&json!("WARNING"), &json!("hm 1")));
        assert_eq!(
            (&record["requestId"], &record["k"], &record["logger"]),
            (&json!("r-1"), &json!("v"), &json!("root"))
        );
    });
}

#[test]
fn state_stays_between_invocations_also_across_a_freeze() {
    let code = "n = 0\ndef handler(event, context):\n    global n\n    n += 1\n    return n\n";
    block_on(async {
        let (spec, _lines) = bench().function("python3.11", "app.py", code);
        let mut environment = bench().start(spec).await;
        for round in 1..=20 {
            let completion = environment.invoke(event(&format!("r-{round}"), "{}")).await;
            assert_eq!(success(&completion), round);
            assert_eq!(completion.figures.init_duration.is_some(), round == 1);
            if round % 5 == 0 {
                tokio::time::sleep(std::time::Duration::from_millis(40)).await;
            }
        }
        let memory = environment.memory_bytes();
        assert!(memory > 1 << 20 && memory < 48 << 20, "{memory}");
        // It is frozen when it has been quiet for long enough, where that can be done.
        if environment.is_frozen().is_some() {
            let frozen = async {
                while environment.is_frozen() != Some(true) {
                    tokio::time::sleep(std::time::Duration::from_millis(5)).await;
                }
            };
            tokio::time::timeout(std::time::Duration::from_secs(10), frozen).await.unwrap();
            environment.invoke(event("r-21", "{}")).await;
            assert_eq!(environment.is_frozen(), Some(false));
        }
        environment.stop().await;
    });
}

#[test]
fn boto3_reaches_the_endpoint_as_its_environment() {
    let code = r#"
def handler(event, context):
    try:
        import boto3
    except ImportError:
        return "no boto3"
    import urllib.request
    return urllib.request.urlopen("http://127.0.0.1:4566/hello").read().decode()
"#;
    block_on(async {
        let bench = bench();
        let (spec, _lines) = bench.function("python3.11", "app.py", code);
        let serve = async {
            use tokio::io::{AsyncReadExt, AsyncWriteExt};
            let mut connection = bench.connections.lock().await.next().await.unwrap();
            assert_eq!(connection.spec.credentials.access_key_id, "ASIAPROBE");
            let mut request = [0; 1024];
            let read = connection.stream.read(&mut request).await.unwrap();
            assert!(request[..read].starts_with(b"GET /hello "));
            let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nworld";
            connection.stream.write_all(answer).await.unwrap();
        };
        let has_boto3 = tokio::select! {
            biased;
            completion = bench.once(spec, "{}") => success(&completion) != "no boto3",
            () = async { serve.await; std::future::pending::<()>().await } => false,
        };
        if !has_boto3 {
            println!("the host's Python has no boto3: the endpoint was not tried with it");
        }
    });
}
