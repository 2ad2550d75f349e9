//! Python functions behave as on AWS.

use crate::harness::{Bench, block_on, success};

#[test]
fn a_handler_answers() {
    block_on(async {
        let bench = Bench::open();
        for finding in &compute_api::FunctionHost::report(&bench.host).findings {
            println!("{finding:?}");
        }
        let (spec, _lines) = bench.function(
            "python3.11",
            "app.py",
            "def handler(event, context):\n    return {'got': event, 'id': context.aws_request_id}\n",
        );
        let completion = bench.once(spec, r#"{"a":1}"#).await;
        println!("{:?}", completion.figures);
        assert_eq!(success(&completion), serde_json::json!({"got": {"a": 1}, "id": "r-1"}));
    });
}
