//! The states of pipes, and what is refused.

use model_pipes::*;

use crate::support::{World, function, log, pipe};

fn stop(name: &str) -> StopPipeRequest {
    StopPipeRequest { name: name.to_owned() }
}

#[tokio::test]
async fn a_pipe_goes_through_its_states() {
    let world = World::new();
    let (source, sink) = (world.queue("source").await, world.queue("sink").await);
    let made = world.create(pipe("p", &source, &sink)).await.unwrap();
    assert_eq!(made.arn.as_deref(), Some("arn:aws:pipes:us-east-1:000000000000:pipe/p"));
    assert_eq!(made.current_state, Some(PipeState::Creating));
    let early = world.stop(stop("p")).await.unwrap_err();
    assert_eq!(early.0, "ConflictException", "it is changed only at rest");
    world.settle().await;
    assert_eq!(world.state("p").await, Some(PipeState::Running));
    assert_eq!(world.stop(stop("p")).await.unwrap().current_state, Some(PipeState::Stopping));
    world.settle().await;
    assert_eq!(world.state("p").await, Some(PipeState::Stopped));
    world.send("source", "kept").await;
    world.settle().await;
    assert_eq!((world.count("source").await, world.count("sink").await), (1, 0), "a stopped pipe does nothing");
    world.start(StartPipeRequest { name: "p".to_owned() }).await.unwrap();
    world.settle().await;
    assert_eq!((world.count("source").await, world.count("sink").await), (0, 1));
    let deleted = world.delete(DeletePipeRequest { name: "p".to_owned() }).await.unwrap();
    assert_eq!(deleted.current_state, Some(PipeState::Deleting));
    world.settle().await;
    assert_eq!(world.state("p").await, None);
    assert_eq!(
        world.stop(stop("p")).await.unwrap_err(),
        ("NotFoundException".to_owned(), "Pipe p does not exist.".to_owned())
    );
}

#[tokio::test]
async fn a_pipe_without_its_source_fails_with_the_reason() {
    let world = World::new();
    let sink = world.queue("sink").await;
    world.create(pipe("p", "arn:aws:sqs:us-east-1:000000000000:nowhere", &sink)).await.unwrap();
    world.settle().await;
    let shown = world.describe(DescribePipeRequest { name: "p".to_owned() }).await.unwrap();
    assert_eq!(shown.current_state, Some(PipeState::CreateFailed));
    assert!(shown.state_reason.unwrap().contains("nowhere"));
}

#[tokio::test]
async fn an_update_changes_what_is_given_and_the_pipe_works_on() {
    let world = World::new();
    let (source, sink, other) = (world.queue("source").await, world.queue("sink").await, world.queue("other").await);
    world.create(CreatePipeRequest { description: Some("d".to_owned()), ..pipe("p", &source, &sink) }).await.unwrap();
    world.settle().await;
    let request = UpdatePipeRequest {
        name: "p".to_owned(),
        role_arn: crate::support::ROLE.to_owned(),
        target: Some(other),
        ..UpdatePipeRequest::default()
    };
    world.update(request).await.unwrap();
    world.settle().await;
    let shown = world.describe(DescribePipeRequest { name: "p".to_owned() }).await.unwrap();
    assert_eq!((shown.current_state, shown.description.as_deref()), (Some(PipeState::Running), Some("d")));
    world.send("source", "x").await;
    world.settle().await;
    assert_eq!((world.count("sink").await, world.count("other").await), (0, 1));
}

#[tokio::test]
async fn what_is_no_pipe_is_refused() {
    let world = World::new();
    let (source, sink) = (world.queue("source").await, world.queue("sink").await);
    let good = || pipe("p", &source, &sink);
    let sizes = |batch, window| PipeSourceParameters {
        sqs_queue_parameters: Some(PipeSourceSqsQueueParameters {
            batch_size: Some(batch),
            maximum_batching_window_in_seconds: window,
        }),
        ..PipeSourceParameters::default()
    };
    let template =
        |text: &str| PipeTargetParameters { input_template: Some(text.to_owned()), ..PipeTargetParameters::default() };
    for (request, code, part) in [
        (pipe("p", "arn:aws:kinesis:us-east-1:000000000000:stream/s", &sink), "NotImplementedException", "`kinesis`"),
        (
            pipe("p", &source, "arn:aws:states:us-east-1:000000000000:stateMachine:m"),
            "NotImplementedException",
            "`states`",
        ),
        (
            CreatePipeRequest {
                source_parameters: Some(sizes(2, None)),
                ..pipe("p", &source, "arn:aws:events:us-east-1:000000000000:api-destination/a/1")
            },
            "ValidationException",
            "BatchSize must be 1",
        ),
        (
            CreatePipeRequest {
                enrichment_parameters: Some(PipeEnrichmentParameters {
                    http_parameters: Some(PipeEnrichmentHttpParameters::default()),
                    ..PipeEnrichmentParameters::default()
                }),
                enrichment: Some(function("f")),
                ..good()
            },
            "ValidationException",
            "HttpParameters",
        ),
        (
            CreatePipeRequest {
                enrichment: Some("arn:aws:states:us-east-1:000000000000:stateMachine:m".into()),
                ..good()
            },
            "NotImplementedException",
            "`states`",
        ),
        (
            CreatePipeRequest { log_configuration: Some(log("eu-west-1", LogLevel::Info, false)), ..good() },
            "ValidationException",
            "log group",
        ),
        (
            CreatePipeRequest { role_arn: "arn:aws:iam::000000000000:user/r".to_owned(), ..good() },
            "ValidationException",
            "",
        ),
        (pipe("p", "arn:aws:sqs:eu-west-1:000000000000:q", &sink), "ValidationException", "Region"),
        (
            CreatePipeRequest { role_arn: "arn:aws:iam::111111111111:role/r".to_owned(), ..good() },
            "ValidationException",
            "Cross-account",
        ),
        (
            CreatePipeRequest { source_parameters: Some(sizes(11, Some(5))), ..good() },
            "ValidationException",
            "BatchSize",
        ),
        (
            CreatePipeRequest { source_parameters: Some(sizes(100, None)), target: function("f"), ..good() },
            "ValidationException",
            "MaximumBatchingWindowInSeconds",
        ),
        (CreatePipeRequest { target_parameters: Some(template("<$..>")), ..good() }, "ValidationException", "<$..>"),
        (
            CreatePipeRequest {
                source_parameters: Some(PipeSourceParameters {
                    filter_criteria: Some(FilterCriteria {
                        filters: Some(vec![Filter { pattern: Some("{\"body\":1}".to_owned()) }]),
                    }),
                    ..PipeSourceParameters::default()
                }),
                ..good()
            },
            "ValidationException",
            "filter pattern",
        ),
    ] {
        let (got, message) = world.create(request).await.unwrap_err();
        assert!(got == code && message.contains(part), "{got}: {message}");
    }
    world.create(good()).await.unwrap();
    assert_eq!(world.create(good()).await.unwrap_err().0, "ConflictException");
}

#[tokio::test]
async fn pipes_are_listed_by_prefix_and_page() {
    let world = World::new();
    let (source, sink) = (world.queue("source").await, world.queue("sink").await);
    for index in 0..5 {
        world.create(pipe(&format!("p{index}"), &source, &sink)).await.unwrap();
    }
    let (mut names, mut next_token) = (Vec::new(), None);
    loop {
        let request = ListPipesRequest {
            name_prefix: Some("p".to_owned()),
            limit: Some(2),
            next_token,
            ..ListPipesRequest::default()
        };
        let page = world.list(request).await.unwrap();
        names.extend(page.pipes.unwrap().into_iter().filter_map(|pipe| pipe.name));
        next_token = page.next_token;
        if next_token.is_none() {
            break;
        }
    }
    assert_eq!(names, ["p0", "p1", "p2", "p3", "p4"]);
    let request = ListPipesRequest { target_prefix: Some("arn:aws:sns".to_owned()), ..ListPipesRequest::default() };
    assert_eq!(world.list(request).await.unwrap().pipes, Some(Vec::new()));
}
