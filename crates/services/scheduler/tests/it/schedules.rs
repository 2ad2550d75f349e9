//! Making, changing, listing and deleting schedules; what is refused.

use model_scheduler::*;

use crate::support::{ROLE, World, at, changed, minutes, refusal, to_queue};

fn named(name: &str) -> GetScheduleInput {
    GetScheduleInput { name: name.to_owned(), group_name: None }
}

#[tokio::test]
async fn a_schedule_is_shown_as_it_was_made_with_awss_defaults() {
    let world = World::new();
    let queue = world.queue("q").await;
    world.create(to_queue("s", "rate(5 minutes)", &queue)).await.unwrap();
    let shown = world.get_schedule(named("s")).await.unwrap();
    assert_eq!(shown.arn.as_deref(), Some("arn:aws:scheduler:us-east-1:000000000000:schedule/default/s"));
    assert_eq!(shown.group_name.as_deref(), Some("default"));
    assert_eq!(shown.schedule_expression_timezone.as_deref(), Some("UTC"));
    assert_eq!(shown.state, Some(ScheduleState::Enabled));
    assert_eq!(shown.action_after_completion, Some(ActionAfterCompletion::None));
    assert_eq!(shown.flexible_time_window.unwrap().mode, FlexibleTimeWindowMode::Off);
    let retry = shown.target.as_ref().unwrap().retry_policy.clone().unwrap();
    assert_eq!((retry.maximum_event_age_in_seconds, retry.maximum_retry_attempts), (Some(86_400), Some(185)));
    assert_eq!(shown.target.unwrap().input.as_deref(), Some("<aws.scheduler.scheduled-time>"));
    assert_eq!((shown.creation_date, shown.last_modification_date), (Some(world.env.now()), Some(world.env.now())));
}

#[tokio::test]
async fn a_token_makes_a_schedule_once_and_a_name_is_taken_once() {
    let world = World::new();
    let queue = world.queue("q").await;
    let with_token = |token: &str| CreateScheduleInput {
        client_token: Some(token.to_owned()),
        ..to_queue("s", "rate(5 minutes)", &queue)
    };
    let first = world.create(with_token("t")).await.unwrap();
    assert_eq!(world.create(with_token("t")).await.unwrap(), first);
    let taken = refusal("ConflictException", "Schedule s already exists.");
    assert_eq!(world.create(with_token("u")).await.unwrap_err(), taken);
    let other = CreateScheduleInput { name: "other".to_owned(), ..with_token("t") };
    assert_eq!(world.create(other).await.unwrap_err().0, "ConflictException");
    let delete = || world.delete(DeleteScheduleInput { name: "s".to_owned(), group_name: None, client_token: None });
    delete().await.unwrap();
    let missing = refusal("ResourceNotFoundException", "Schedule s does not exist.");
    assert_eq!(delete().await.unwrap_err(), missing);
    assert_eq!(world.get_schedule(named("s")).await.unwrap_err(), missing);
    assert_eq!(world.update(changed(with_token("v"))).await.unwrap_err(), missing);
}

#[tokio::test]
async fn an_update_replaces_everything_and_keeps_the_day_of_making() {
    let world = World::new();
    let queue = world.queue("q").await;
    let described = CreateScheduleInput {
        description: Some("d".to_owned()),
        kms_key_arn: Some("arn:aws:kms:us-east-1:000000000000:key/k".to_owned()),
        ..to_queue("s", "rate(5 minutes)", &queue)
    };
    world.create(described).await.unwrap();
    let made = world.env.now();
    world.env.advance(minutes(3));
    let disabled =
        CreateScheduleInput { state: Some(ScheduleState::Disabled), ..to_queue("s", "rate(1 minute)", &queue) };
    world.update(changed(disabled)).await.unwrap();
    let shown = world.get_schedule(named("s")).await.unwrap();
    assert_eq!((shown.description, shown.kms_key_arn), (None, None));
    assert_eq!((shown.creation_date, shown.last_modification_date), (Some(made), Some(world.env.now())));
    world.pass(minutes(10)).await;
    assert_eq!(world.bodies("q").await, Vec::<String>::new(), "a disabled schedule does not fire");
    world.update(changed(to_queue("s", "rate(10 minutes)", &queue))).await.unwrap();
    world.pass(minutes(10)).await;
    assert_eq!(world.bodies("q").await, ["2026-01-01T00:20:30Z"], "it counts from its making");
}

#[tokio::test]
async fn what_cannot_be_a_schedule_is_refused() {
    let world = World::new();
    let queue = world.queue("q").await;
    let good = || to_queue("s", "rate(5 minutes)", &queue);
    let with_target = |arn: &str| CreateScheduleInput {
        target: Target { arn: arn.to_owned(), input: Some("{}".to_owned()), ..good().target },
        ..good()
    };
    let window = |mode, minutes| FlexibleTimeWindow { mode, maximum_window_in_minutes: minutes };
    let validation = "ValidationException";
    for (request, code, message) in [
        (to_queue("s", "cron(0 0 * * * *)", &queue), validation, "Invalid Schedule Expression cron(0 0 * * * *)."),
        (to_queue("s", "every day", &queue), validation, "Invalid Schedule Expression every day."),
        (
            CreateScheduleInput { schedule_expression_timezone: Some("Mars/Base".to_owned()), ..good() },
            validation,
            "Invalid Schedule Expression Timezone Mars/Base.",
        ),
        (
            CreateScheduleInput { group_name: Some("g".to_owned()), ..good() },
            "ResourceNotFoundException",
            "Schedule group g does not exist.",
        ),
        (
            CreateScheduleInput { start_date: Some(at("2025-12-31T23:55:00Z")), ..good() },
            validation,
            "The StartDate you specify cannot be earlier than 5 minutes ago.",
        ),
        (
            CreateScheduleInput {
                start_date: Some(at("2026-02-01T00:00:00Z")),
                end_date: Some(at("2026-01-31T00:00:00Z")),
                ..good()
            },
            validation,
            "The EndDate you specify must come after the StartDate.",
        ),
        (
            CreateScheduleInput { flexible_time_window: window(FlexibleTimeWindowMode::Flexible, None), ..good() },
            validation,
            "MaximumWindowInMinutes must be specified when FlexibleTimeWindow Mode is FLEXIBLE.",
        ),
        (
            CreateScheduleInput { flexible_time_window: window(FlexibleTimeWindowMode::Off, Some(5)), ..good() },
            validation,
            "MaximumWindowInMinutes must not be specified when FlexibleTimeWindow Mode is OFF.",
        ),
        (with_target("arn:aws:s3:::bucket"), validation, "Provided Arn is not in correct format."),
        (
            with_target("arn:aws:states:us-east-1:000000000000:stateMachine:m"),
            "NotImplementedException",
            "Pileus does not support targets of the service `states` (yet).",
        ),
        (
            with_target("arn:aws:scheduler:::aws-sdk:polly:synthesizeSpeech"),
            "NotImplementedException",
            "Pileus does not support the target aws-sdk:polly:synthesizeSpeech: this version of Pileus has no service \
             `polly` (yet).",
        ),
        (
            with_target("arn:aws:scheduler:::aws-sdk:sqs:receiveMessage"),
            validation,
            "The operation receiveMessage of sqs only reads: it cannot be a target.",
        ),
        (
            with_target("arn:aws:events:us-east-1:000000000000:event-bus/default"),
            validation,
            "EventBridgeParameters must be specified for an event bus target.",
        ),
        (
            with_target("arn:aws:sqs:us-east-1:000000000000:q.fifo"),
            validation,
            "MessageGroupId must be specified for an Amazon SQS FIFO queue target.",
        ),
        (
            CreateScheduleInput {
                target: Target { role_arn: ROLE.replace("000000000000", "111111111111"), ..good().target },
                ..good()
            },
            validation,
            "Cross-account pass role is not allowed.",
        ),
    ] {
        assert_eq!(world.create(request).await.unwrap_err(), refusal(code, message));
    }
    let json = |input: &str| CreateScheduleInput {
        target: Target {
            arn: "arn:aws:scheduler:::aws-sdk:sqs:sendMessage".to_owned(),
            input: Some(input.to_owned()),
            ..good().target
        },
        ..good()
    };
    let invalid = refusal(validation, "Invalid RequestJson provided. Reason The input is not valid JSON.");
    assert_eq!(world.create(json("{")).await.unwrap_err(), invalid);
    let wrong = refusal(validation, "Invalid RequestJson provided. Reason it is wrong");
    assert_eq!(world.create(json("{\"a\":\"wrong\"}")).await.unwrap_err(), wrong);
    let large = CreateScheduleInput { target: Target { input: Some("x".repeat(262_145)), ..good().target }, ..good() };
    assert_eq!(world.create(large).await.unwrap_err().0, validation);
    assert_eq!(world.list(ListSchedulesInput::default()).await.unwrap().schedules.len(), 0);
}

#[tokio::test]
async fn schedules_are_listed_by_group_prefix_state_and_page() {
    let world = World::new();
    let queue = world.queue("q").await;
    for group in ["a", "b"] {
        let request = CreateScheduleGroupInput { name: group.to_owned(), ..Default::default() };
        world.create_group(request).await.unwrap();
        for index in 0..5 {
            let state = if index % 2 == 0 { ScheduleState::Enabled } else { ScheduleState::Disabled };
            let request = CreateScheduleInput {
                group_name: Some(group.to_owned()),
                state: Some(state),
                ..to_queue(&format!("{group}-{index}"), "rate(1 day)", &queue)
            };
            world.create(request).await.unwrap();
        }
    }
    let all = |filter: ListSchedulesInput| {
        let world = &world;
        async move {
            let (mut names, mut next_token) = (Vec::new(), None);
            loop {
                let request = ListSchedulesInput { next_token, max_results: Some(2), ..filter.clone() };
                let page = world.list(request).await.unwrap();
                assert!(page.schedules.len() <= 2);
                names.extend(page.schedules.into_iter().filter_map(|schedule| schedule.name));
                next_token = page.next_token;
                if next_token.is_none() {
                    return names.join(" ");
                }
            }
        }
    };
    let text = |text: &str| Some(text.to_owned());
    assert_eq!(all(ListSchedulesInput::default()).await, "a-0 a-1 a-2 a-3 a-4 b-0 b-1 b-2 b-3 b-4");
    assert_eq!(all(ListSchedulesInput { group_name: text("b"), ..Default::default() }).await, "b-0 b-1 b-2 b-3 b-4");
    assert_eq!(all(ListSchedulesInput { name_prefix: text("a-1"), ..Default::default() }).await, "a-1");
    let disabled = ListSchedulesInput { state: Some(ScheduleState::Disabled), ..Default::default() };
    assert_eq!(all(disabled).await, "a-1 a-3 b-1 b-3");
    let missing = ListSchedulesInput { group_name: text("c"), ..Default::default() };
    assert_eq!(world.list(missing).await.unwrap_err().0, "ResourceNotFoundException");
}
