"""What the provider validations of duroxide 0.1.26 examine, and which checks of the contract examine it here.

213 functions in 19 modules. A name is followed by the checks (without `check_`) that hold a store to the same promise,
or to what has taken its place; or, after a colon, by why there is nothing to examine.
"""

from __future__ import annotations

import pytest

from trioflow.testing._store_contract import CHECKS

NO_POLLING = "does not apply: a verb answers at once; who waits watches `signals`"
OPAQUE = "does not apply: a store never reads inside an event, so it cannot meet one that is undecodable"
NO_LOCKED_STATE = "does not apply: cancelling marks the item; the execution's state is not asked for on the way"
NO_MERGING = "does not apply: a commit writes values at once; what an execution began with is the engine's affair"

COVERS = """
atomicity
  atomicity_failure_rollback  a_refused_commit_writes_nothing a_fused_step_is_all_or_nothing
  multi_operation_atomic_ack  a_commit_does_several_things_at_once a_commit_cancelled_midway_is_whole
  lock_released_only_on_successful_ack  a_refused_commit_may_be_corrected commit_releases
  concurrent_ack_prevention  concurrent_commits_of_one_turn a_commit_after_another_is_refused

error_handling
  invalid_lock_token_on_ack  odd_tokens_hold_nothing a_commit_to_nobody_is_refused
  duplicate_event_id_rejection  event_ids_have_no_gaps events_have_to_follow
  missing_instance_metadata  bad_names_are_refused
  corrupted_serialization_data  :OPAQUE
  lock_expiration_during_ack  a_late_commit_succeeds_if_nobody_came a_stale_commit_is_refused

instance_locking
  exclusive_instance_lock  a_locked_instance_is_locked
  lock_token_uniqueness  tokens_are_never_the_same
  invalid_lock_token_rejection  odd_tokens_hold_nothing a_stale_release_changes_nothing
  concurrent_instance_fetching  concurrent_lockers_share
  completions_arriving_during_lock_blocked  messages_during_a_turn_wait what_arrived_is_answered
  cross_instance_lock_isolation  a_token_is_for_one_instance
  message_tagging_during_lock  messages_during_a_turn_wait
  ack_only_affects_locked_messages  commit_removes_exactly_what_was_consumed
  multi_threaded_lock_contention  threads_do_everything_once
  multi_threaded_no_duplicate_processing  threads_do_everything_once processes_do_everything_once
  multi_threaded_lock_expiration_recovery  locks_hold_across_twins

lock_expiration
  lock_expires_after_timeout  an_expired_lease_is_given_again lease_starts_when_taken
  abandon_releases_lock_immediately  a_clean_release_does_not_count
  lock_renewal_on_ack  a_kept_lock_is_held
  concurrent_lock_attempts_respect_expiration  a_lock_is_renewed_or_taken
  worker_lock_renewal_success  item_renewal_extends
  worker_lock_renewal_invalid_token  an_item_lock_names_its_item
  worker_lock_renewal_after_expiration  a_late_item_renewal_succeeds_if_nobody_came a_stale_heartbeat_is_dropped
  worker_lock_renewal_extends_timeout  item_renewal_extends
  worker_lock_renewal_after_ack  a_settled_item_is_not_renewed
  abandon_work_item_releases_lock  a_clean_item_release_does_not_count
  abandon_work_item_with_delay  an_item_release_delay_is_announced a_repeated_item_release_changes_nothing
  worker_ack_fails_after_lock_expiry  a_stale_settlement_is_lost
  orchestration_lock_renewal_after_expiration  a_late_renewal_succeeds_if_nobody_came a_stale_renewal_extends_nothing

multi_execution
  execution_isolation  old_histories_are_kept_apart the_old_history_stays
  latest_execution_detection  the_next_execution_begins the_last_event_is_whole
  execution_id_sequencing  many_executions_follow
  continue_as_new_creates_new_execution  the_next_execution_begins the_start_message_is_first
  execution_history_persistence  the_old_history_stays what_was_written_outlives_the_twin

queue_semantics
  worker_queue_fifo_ordering  items_come_oldest_first
  worker_peek_lock_semantics  a_taken_item_is_taken
  worker_ack_atomicity  an_outcome_is_posted one_outcome_is_posted
  timer_delayed_visibility  wake_at_makes_eligible
  lost_lock_token_handling  a_stale_settlement_is_lost a_settled_item_is_gone
  worker_item_immediate_visibility  a_scheduled_item_is_taken
  worker_delayed_visibility_skips_future_items  a_retry_waits a_retry_lines_up_when_it_is_due
  orphan_queue_messages_dropped  unknown_instance_is_refused messages_out_of_a_turn

instance_creation
  instance_creation_via_metadata  start_creates_execution_one
  no_instance_creation_on_enqueue  unknown_instance_is_refused
  null_version_handling  a_version_stays_open_until_a_turn_pins_it
  sub_orchestration_instance_creation  a_child_is_started start_keeps_parent_and_attributes

management
  list_instances  a_list_is_newest_first a_list_shows_what_reading_shows
  list_instances_by_status  states_are_told_apart
  list_executions  executions_are_told_of_in_short
  get_instance_info  commit_sets_columns created_at_stays
  get_execution_info  commit_sets_columns what_an_ended_instance_left_can_be_read
  get_system_metrics  everything_is_counted
  get_queue_depths  turns_are_counted activities_are_counted_by_tag

long_polling
  short_poll_returns_immediately  :NO_POLLING
  long_poll_waits_for_timeout  :NO_POLLING
  fetch_respects_timeout_upper_bound  :NO_POLLING
  short_poll_work_item_returns_immediately  :NO_POLLING
  long_poll_work_item_waits_for_timeout  :NO_POLLING

poison_message
  orchestration_attempt_count_starts_at_one  an_expired_lease_is_given_again
  orchestration_attempt_count_increments_on_refetch  an_expired_lease_is_given_again
  worker_attempt_count_starts_at_one  a_scheduled_item_is_taken
  worker_attempt_count_increments_on_lock_expiry  a_taken_item_is_taken fetches_count_what_never_settled
  attempt_count_is_per_message  commit_resets_attempts
  abandon_work_item_ignore_attempt_decrements  a_clean_item_release_does_not_count
  abandon_orchestration_item_ignore_attempt_decrements  a_clean_release_takes_back_one_attempt
  ignore_attempt_never_goes_negative  a_kept_lock_can_be_given_back
  max_attempt_count_across_message_batch  commit_resets_attempts

cancellation
  fetch_returns_running_state_for_active_orchestration  :NO_LOCKED_STATE
  fetch_returns_terminal_state_when_orchestration_completed  a_mark_outlives_the_end
  fetch_returns_terminal_state_when_orchestration_failed  a_mark_outlives_the_end
  fetch_returns_terminal_state_when_orchestration_continued_as_new  items_of_two_executions_are_two
  fetch_returns_missing_state_when_instance_deleted  items_go_with_their_instance
  renew_returns_running_when_orchestration_active  a_renewal_tells_each_lock_apart
  renew_returns_terminal_when_orchestration_completed  a_mark_outlives_the_end
  renew_returns_missing_when_instance_deleted  items_go_with_their_instance
  ack_work_item_none_deletes_without_enqueue  a_silent_settlement_posts_nothing
  cancelled_activities_deleted_from_worker_queue  a_free_item_is_removed
  ack_work_item_fails_when_entry_deleted  a_settled_item_is_gone an_expired_item_is_lost
  renew_fails_when_entry_deleted  a_settled_item_is_not_renewed
  cancelling_nonexistent_activities_is_idempotent  one_outcome_is_posted cancelling_twice_posts_once
  batch_cancellation_deletes_multiple_activities  one_commit_cancels_each_as_it_stands
  same_activity_in_worker_items_and_cancelled_is_noop  an_item_of_the_same_commit_can_be_cancelled
  orphan_activity_after_instance_force_deletion  items_go_with_their_instance nothing_of_the_dead_reaches_the_living

deletion
  delete_terminal_instances  a_deleted_instance_is_gone
  delete_running_rejected_force_succeeds  who_has_not_ended_is_not_deleted force_deletes_what_goes_on
  delete_nonexistent_instance  several_are_deleted_at_once
  delete_cleans_queues_and_locks  items_go_with_their_instance force_deletes_what_goes_on
  cascade_delete_hierarchy  descendants_go_with_it
  force_delete_prevents_ack_recreation  force_deletes_what_goes_on
  list_children  children_are_found_by_their_parent
  delete_get_parent_id  start_keeps_parent_and_attributes a_replacement_has_its_own_parent
  delete_get_instance_tree  descendants_go_with_it
  delete_instances_atomic  several_are_deleted_at_once who_has_not_ended_is_not_deleted
  delete_instances_atomic_force  force_deletes_what_goes_on
  delete_instances_atomic_orphan_detection  a_living_descendant_saves_its_family
  stale_activity_after_delete_recreate  an_outcome_for_an_old_execution_is_dropped

bulk_deletion
  delete_instance_bulk_filter_combinations  all_that_is_said_has_to_hold
  delete_instance_bulk_safety_and_limits  who_has_not_ended_is_not_deleted pages_follow_each_other
  delete_instance_bulk_completed_before_filter  times_are_ranges
  delete_instance_bulk_cascades_to_children  descendants_go_with_it

prune
  prune_options_combinations  pruning_by_age the_newest_executions_are_kept
  prune_safety  the_current_execution_is_never_pruned
  prune_bulk  the_newest_executions_are_kept pages_follow_each_other
  prune_bulk_includes_running_instances  pruning_by_age

capability_filtering
  fetch_with_filter_none_returns_any_item  no_limits_mean_anything
  fetch_with_compatible_filter_returns_item  capabilities_by_name_and_version
  fetch_with_incompatible_filter_skips_item  capabilities_by_semantics
  fetch_filter_skips_incompatible_selects_compatible  foreign_instances_do_not_starve
  fetch_filter_does_not_lock_skipped_instances  what_is_passed_over_is_untouched
  fetch_filter_null_pinned_version_always_compatible  capabilities_by_name_and_version
  fetch_filter_boundary_versions  versions_are_texts pairs_are_pairs
  pinned_version_stored_via_ack_metadata  a_pin_decides
  pinned_version_immutable_across_ack_cycles  commit_leaves_what_is_not_given
  continue_as_new_execution_gets_own_pinned_version  the_next_execution_has_its_own_pin a_version_may_be_left_open
  filter_with_empty_supported_versions_returns_nothing  no_capabilities_take_nothing
  concurrent_filtered_fetch_no_double_lock  concurrent_workers_with_different_capabilities
  ack_stores_pinned_version_via_metadata_update  a_pin_decides
  provider_updates_pinned_version_when_told  a_version_stays_open_until_a_turn_pins_it
  fetch_corrupted_history_filtered_vs_unfiltered  :OPAQUE
  fetch_deserialization_error_increments_attempt_count  an_unclean_release_counts
  fetch_deserialization_error_eventually_reaches_poison  an_unclean_release_counts
  fetch_filter_applied_before_history_deserialization  :OPAQUE
  fetch_single_range_only_uses_first_range  every_pair_counts all_semantics_of_a_worker_count
  ack_appends_event_to_corrupted_history  commit_appends_events

custom_status
  custom_status_set  commit_sets_columns a_status_of_all_bytes_is_kept
  custom_status_clear  commit_leaves_what_is_not_given
  custom_status_none_preserves  commit_leaves_what_is_not_given
  custom_status_version_increments  revisions_are_never_the_same
  custom_status_polling_no_change  leases_alone_change_nothing_to_read every_commit_wakes_watchers
  custom_status_nonexistent_instance  what_is_not_there_reads_as_nothing
  custom_status_default_on_new_instance  a_replacement_starts_afresh

tag_filtering
  default_only_fetches_untagged  tags_choose_workers
  tags_fetches_only_matching  tags_choose_workers
  default_and_fetches_untagged_and_matching  tags_choose_workers
  none_filter_returns_nothing  tags_choose_workers
  multi_tag_filter  many_tags_of_a_worker_count
  tag_round_trip_preservation  tags_are_told_apart_to_the_letter
  any_filter_fetches_everything  tags_choose_workers
  tag_survives_abandon_and_refetch  tag_and_session_survive
  multi_runtime_tag_isolation  other_tags_do_not_starve times_of_other_tags_are_not_announced
  tag_preserved_through_ack_orchestration_item  a_born_leased_item_keeps_its_tag

kv_store
  kv_set_and_get  values_are_set_and_cleared
  kv_overwrite  values_are_set_and_cleared
  kv_clear_single  values_are_set_and_cleared
  kv_clear_all  values_outlive_commits
  kv_get_nonexistent  what_is_not_there_reads_as_nothing
  kv_snapshot_in_fetch  :NO_MERGING
  kv_snapshot_after_clear_single  :NO_MERGING
  kv_snapshot_after_clear_all  :NO_MERGING
  kv_execution_id_tracking  values_and_status_stay
  kv_cross_execution_overwrite  values_outlive_commits
  kv_cross_execution_remove_readd  values_outlive_commits
  kv_prune_preserves_overwritten  pruning_touches_nothing_else
  kv_prune_preserves_all_keys  pruning_touches_nothing_else
  kv_instance_isolation  instances_are_apart
  kv_delete_instance_cascades  a_deleted_instance_is_gone
  kv_clear_nonexistent_key  values_are_set_and_cleared
  kv_get_unknown_instance  what_is_not_there_reads_as_nothing
  kv_set_after_clear  values_outlive_commits
  kv_empty_value  values_of_all_bytes_are_kept
  kv_large_value  values_of_all_bytes_are_kept a_commit_of_many_values
  kv_special_chars_in_key  odd_keys_are_kept bad_keys_are_refused
  kv_snapshot_empty  :NO_MERGING
  kv_snapshot_cross_execution  :NO_MERGING
  kv_prune_current_execution_protected  the_current_execution_is_never_pruned
  kv_delete_instance_with_children  descendants_go_with_it
  kv_clear_isolation  instances_are_apart
  kv_delta_snapshot_excludes_current_execution  :NO_MERGING
  kv_delta_snapshot_includes_completed_execution  what_an_ended_instance_left_can_be_read
  kv_delta_client_reads_merged  values_are_set_and_cleared
  kv_delta_tombstone_overrides_store  values_outlive_commits
  kv_delta_clear_all_tombstones_store  values_outlive_commits
  kv_delta_merged_on_completion  what_an_ended_instance_left_can_be_read
  kv_delta_merged_on_can  values_and_status_stay
  kv_delta_delete_instance_cascades  a_deleted_instance_is_gone
  kv_delta_prune_untouched_key_survives  pruning_touches_nothing_else

sessions
  non_session_items_fetchable_by_any_worker  items_without_a_session_are_for_all
  session_item_claimable_when_no_session  a_session_belongs_to_whoever_takes_its_first_item
  session_affinity_same_worker  a_session_belongs_to_whoever_takes_its_first_item
  session_affinity_blocks_other_worker  a_session_belongs_to_whoever_takes_its_first_item
  different_sessions_different_workers  sessions_are_apart
  mixed_session_and_non_session_items  items_without_a_session_are_for_all
  session_claimable_after_lock_expiry  a_session_that_is_not_renewed_is_free
  none_session_skips_session_items  who_takes_no_sessions_gets_none
  some_session_returns_all_items  items_of_a_session_come_in_order
  renew_session_lock_active  renewal_goes_on_from_now
  renew_session_lock_skips_idle  an_idle_session_is_given_back
  renew_session_lock_no_sessions  who_has_none_renews_none
  cleanup_removes_expired_no_items  an_idle_session_is_given_back
  cleanup_keeps_sessions_with_pending_items  a_session_outlives_an_attempt
  cleanup_keeps_active_sessions  what_is_taken_uses_its_session
  ack_updates_session_last_activity  what_is_settled_uses_its_session what_a_turn_settles_uses_its_session
  renew_work_item_updates_session_last_activity  what_is_renewed_uses_its_session a_former_owner_uses_nothing
  session_items_processed_in_order  items_of_a_session_come_in_order
  non_session_items_returned_with_session_config  items_without_a_session_are_for_all
  shared_worker_id_any_caller_can_fetch_owned_session  the_cap_holds_when_calls_meet
  concurrent_session_claim_only_one_wins  a_session_is_claimed_once
  session_takeover_after_lock_expiry  a_session_that_is_not_renewed_is_free
  cleanup_then_new_item_recreates_session  a_session_of_nobody_is_claimed_again
  abandoned_session_item_retryable  a_given_back_item_stays_in_its_session
  abandoned_session_item_ignore_attempt  a_given_back_item_stays_in_its_session
  renew_session_lock_after_expiry_returns_zero  a_lost_session_is_not_renewed
  original_worker_reclaims_expired_session  a_session_of_nobody_is_claimed_again
  activity_lock_expires_session_lock_valid_same_worker_refetches  a_session_outlives_an_attempt
  session_lock_expires_new_owner_gets_redelivery  a_session_that_is_not_renewed_is_free
  session_lock_expires_same_worker_reacquires  an_expired_session_that_nobody_claimed_is_renewed
  both_locks_expire_different_worker_claims  a_session_that_is_not_renewed_is_free
  session_lock_expires_activity_lock_valid_ack_succeeds  an_attempt_outlives_its_session
  session_lock_renewal_extends_past_original_timeout  renewal_goes_on_from_now
"""

SIZES = {
    "atomicity": 4, "error_handling": 5, "instance_locking": 11, "lock_expiration": 13, "multi_execution": 5,
    "queue_semantics": 8, "instance_creation": 4, "management": 7, "long_polling": 5, "poison_message": 9,
    "cancellation": 16, "deletion": 13, "bulk_deletion": 4, "prune": 4, "capability_filtering": 20, "sessions": 33,
    "custom_status": 7, "tag_filtering": 10, "kv_store": 35,
}  # fmt: skip


def parsed() -> dict[str, dict[str, list[str]]]:
    """By module: what is examined there, and what answers to it."""
    table: dict[str, dict[str, list[str]]] = {}
    for block in COVERS.strip().split("\n\n"):
        module, *lines = block.splitlines()
        table[module] = {name: answers for name, *answers in (line.split() for line in lines)}
    return table


def test_nothing_is_left_out() -> None:
    """All 213 functions of the 19 modules have an answer."""
    table = parsed()
    assert {module: len(names) for module, names in table.items()} == SIZES
    assert sum(SIZES.values()) == 213
    assert len(SIZES) == 19
    assert all(answers for names in table.values() for answers in names.values())


@pytest.mark.parametrize("module", SIZES)
def test_every_answer_is_there(module: str) -> None:
    """An answer is a check of the contract, or a reason that is given above."""
    checks = {check.__name__.removeprefix("check_") for check in CHECKS}
    answers = [answer for answers in parsed()[module].values() for answer in answers]
    reasons = [answer.removeprefix(":") for answer in answers if answer.startswith(":")]
    assert [answer for answer in answers if not answer.startswith(":") and answer not in checks] == []
    assert [reason for reason in reasons if not globals()[reason].startswith("does not apply: ")] == []
