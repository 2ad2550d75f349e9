//! Reads and writes documents of every operation (so that all code is linked), then times four of them.
//! Arguments: rounds (0 only links), and one measurement alone, such as `read-CreateFunction`.

use std::time::Instant;

const CREATE: &str = include_str!("create-function.json");
const BATCH: &str = include_str!("send-message-batch.json");

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let rounds: u32 = arguments.get(1).and_then(|text| text.parse().ok()).unwrap_or(0);
    let only = arguments.get(2).map(String::as_str);
    let mut total = 0;
    side::every(&mut total);
    for (name, document) in [("CreateFunction", CREATE), ("SendMessageBatch", BATCH)] {
        // The best of seven: the machine has other work to do.
        let times = if rounds > 0 && only.is_none() { 7 } else { 1 };
        let (mut read, mut write, mut check) = (f64::MAX, f64::MAX, f64::MAX);
        let wanted = |what: &str| only.is_none_or(|only| only == format!("{what}-{name}"));
        for _ in 0..times {
            if wanted("read") {
                read = read.min(time(rounds, || side::read(name, document.as_bytes())));
            }
            if wanted("write") {
                write = write.min(side::time_write(rounds, name, document.as_bytes()));
            }
            if wanted("validate") {
                check = check.min(side::time_check(rounds, name, document.as_bytes()));
            }
        }
        println!("{name} {} {read:.0} {write:.0} {check:.0}", document.len());
    }
    std::process::exit(i32::from(total == usize::MAX));
}

fn time(rounds: u32, mut work: impl FnMut() -> usize) -> f64 {
    let start = Instant::now();
    let mut total = 0_usize;
    for _ in 0..rounds {
        total = total.wrapping_add(std::hint::black_box(work()));
    }
    std::hint::black_box(total);
    start.elapsed().as_nanos() as f64 / f64::from(rounds)
}

#[cfg(feature = "schema")]
mod side {
    use wire_json::Members;
    use wire_schema::{Model, Seen, Survey};

    fn every_of<M: Model>(total: &mut usize) {
        for operation in M::service().operations {
            if let Some(mut request) = M::request(operation) {
                let (mut seen, mut survey) = (Seen::default(), Survey::default());
                let input = M::input_mut(&mut request);
                *total += usize::from(wire_json::decode(b"{}", Members::All, input, &mut seen, &mut survey).is_ok());
            }
            if let Some(output) = M::response(operation).as_ref().and_then(M::output) {
                *total += wire_json::encode(output, Members::All).len();
            }
        }
    }

    pub fn every(total: &mut usize) {
        every_of::<model_lambda::Api>(total);
        every_of::<model_sqs::Api>(total);
    }

    fn request<M: Model>(name: &str, document: &[u8]) -> (M::Request, Survey) {
        let operation = M::service().operation(name).expect("an operation");
        let mut request = M::request(operation).expect("a request");
        let (mut seen, mut survey) = (Seen::default(), Survey::default());
        let input = M::input_mut(&mut request);
        wire_json::decode(document, Members::All, input, &mut seen, &mut survey).expect("a document");
        survey.absent(operation.input, seen);
        (request, survey)
    }

    pub fn read(name: &str, document: &[u8]) -> usize {
        match name {
            "CreateFunction" => usize::from(matches!(
                request::<model_lambda::Api>(name, document).0,
                model_lambda::Request::CreateFunction(_)
            )),
            _ => usize::from(matches!(
                request::<model_sqs::Api>(name, document).0,
                model_sqs::Request::SendMessageBatch(_)
            )),
        }
    }

    fn write_of<M: Model>(rounds: u32, name: &str, document: &[u8]) -> f64 {
        let (request, _) = request::<M>(name, document);
        super::time(rounds, || wire_json::encode(M::input(&request), Members::All).len())
    }

    pub fn time_write(rounds: u32, name: &str, document: &[u8]) -> f64 {
        match name {
            "CreateFunction" => write_of::<model_lambda::Api>(rounds, name, document),
            _ => write_of::<model_sqs::Api>(rounds, name, document),
        }
    }

    fn check_of<M: Model>(rounds: u32, name: &str, document: &[u8]) -> f64 {
        let (request, survey) = request::<M>(name, document);
        super::time(rounds, || {
            let input = M::input(&request);
            wire_schema::validate(input, &survey).len() + usize::from(wire_schema::refused_member(input).is_some())
        })
    }

    pub fn time_check(rounds: u32, name: &str, document: &[u8]) -> f64 {
        match name {
            "CreateFunction" => check_of::<model_lambda::Api>(rounds, name, document),
            _ => check_of::<model_sqs::Api>(rounds, name, document),
        }
    }
}

#[cfg(feature = "derived")]
mod side {
    use derived::{lambda, sqs};

    pub fn every(total: &mut usize) {
        lambda::every(total);
        sqs::every(total);
    }

    pub fn read(name: &str, document: &[u8]) -> usize {
        match name {
            "CreateFunction" => {
                Box::new(serde_json::from_slice::<lambda::CreateFunctionRequest>(document).expect("a document"))
                    .function_name
                    .len()
            }
            _ => Box::new(serde_json::from_slice::<sqs::SendMessageBatchRequest>(document).expect("a document"))
                .entries
                .len(),
        }
    }

    pub fn time_write(rounds: u32, name: &str, document: &[u8]) -> f64 {
        match name {
            "CreateFunction" => {
                let value: lambda::CreateFunctionRequest = serde_json::from_slice(document).expect("a document");
                super::time(rounds, || serde_json::to_vec(&value).expect("text").len())
            }
            _ => {
                let value: sqs::SendMessageBatchRequest = serde_json::from_slice(document).expect("a document");
                super::time(rounds, || serde_json::to_vec(&value).expect("text").len())
            }
        }
    }

    /// Derived structs have no constraints.
    pub fn time_check(_: u32, _: &str, _: &[u8]) -> f64 {
        0.0
    }
}
