//! Groups.

use model_scheduler::*;

use crate::support::{World, minutes, refusal, to_queue};

async fn group(world: &World, name: &str) -> Result<String, (String, String)> {
    let request = CreateScheduleGroupInput { name: name.to_owned(), ..Default::default() };
    world.create_group(request).await.map(|made| made.schedule_group_arn)
}

#[tokio::test]
async fn the_default_group_is_there_and_stays() {
    let world = World::new();
    let get = |name: &str| world.get_group(GetScheduleGroupInput { name: name.to_owned() });
    let default = get("default").await.unwrap();
    assert_eq!(default.state, Some(ScheduleGroupState::Active));
    assert_eq!(default.arn.as_deref(), Some("arn:aws:scheduler:us-east-1:000000000000:schedule-group/default"));
    let delete = DeleteScheduleGroupInput { name: "default".to_owned(), client_token: None };
    assert_eq!(world.delete_group(delete).await.unwrap_err().0, "ValidationException");
    let listed = world.list_groups(ListScheduleGroupsInput::default()).await.unwrap();
    assert_eq!(listed.schedule_groups.len(), 1);
    let missing = refusal("ResourceNotFoundException", "Schedule group other does not exist.");
    assert_eq!(get("other").await.unwrap_err(), missing);
    let conflict = refusal("ConflictException", "Schedule group default already exists.");
    assert_eq!(group(&world, "default").await.unwrap_err(), conflict);
}

#[tokio::test]
async fn a_group_goes_with_its_schedules_in_the_background() {
    let world = World::new();
    let queue = world.queue("q").await;
    group(&world, "g").await.unwrap();
    let inside = |name: &str| CreateScheduleInput {
        group_name: Some("g".to_owned()),
        ..to_queue(name, "rate(1 minute)", &queue)
    };
    for index in 0..450 {
        let later =
            CreateScheduleInput { start_date: Some(world.env.now() + minutes(10)), ..inside(&format!("s{index}")) };
        world.create(later).await.unwrap();
    }
    world.create(to_queue("kept", "rate(1 day)", &queue)).await.unwrap();
    let delete = || world.delete_group(DeleteScheduleGroupInput { name: "g".to_owned(), client_token: None });
    delete().await.unwrap();
    delete().await.unwrap();
    let get = || world.get_group(GetScheduleGroupInput { name: "g".to_owned() });
    assert_eq!(get().await.unwrap().state, Some(ScheduleGroupState::Deleting));
    let refused = world.create(inside("late")).await.unwrap_err();
    assert_eq!(refused, refusal("ConflictException", "Schedule group g is being deleted."));
    world.settle().await;
    assert_eq!(get().await.unwrap_err().0, "ResourceNotFoundException");
    let listed = world.list(ListSchedulesInput::default()).await.unwrap();
    assert_eq!(listed.schedules.len(), 1);
    assert_eq!(world.bodies("q").await.len(), 1, "of the one that was kept");
    world.pass(minutes(30)).await;
    assert_eq!(world.bodies("q").await.len(), 0, "nothing of a deleted group fires");
}

#[tokio::test]
async fn groups_are_listed_by_prefix_and_page() {
    let world = World::new();
    for index in 0..5 {
        group(&world, &format!("team-{index}")).await.unwrap();
    }
    let mut names = Vec::new();
    let mut next_token = None;
    loop {
        let request = ListScheduleGroupsInput {
            name_prefix: Some("team-".to_owned()),
            max_results: Some(2),
            next_token: next_token.take(),
        };
        let page = world.list_groups(request).await.unwrap();
        names.extend(page.schedule_groups.into_iter().filter_map(|group| group.name));
        next_token = page.next_token;
        if next_token.is_none() {
            break;
        }
    }
    assert_eq!(names, ["team-0", "team-1", "team-2", "team-3", "team-4"]);
    let forged = ListScheduleGroupsInput { next_token: Some("x".to_owned()), ..Default::default() };
    assert_eq!(world.list_groups(forged).await.unwrap_err().0, "ValidationException");
}
