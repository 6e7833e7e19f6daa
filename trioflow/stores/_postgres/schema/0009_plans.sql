-- How the verbs that work on one instance, or in the order of an index, are planned.
--
-- Law: whatever PostgreSQL believes about the sizes of tables that fill and empty within moments, the plan is made once
-- and goes by keys. Left alone it plans many of these statements anew for each call, which takes a quarter of the time,
-- or keeps a plan that reads a whole table because that was empty when the plan was made.
DO $$
DECLARE
    _verb regprocedure;
BEGIN
    FOR _verb IN
        SELECT p.oid FROM pg_proc p
        WHERE p.pronamespace = current_schema()::regnamespace AND p.proname IN (
            'start_instance', 'post_message', 'lock_turns', 'commit_turn', 'release_turn', 'renew_turns',
            'lock_activities', 'commit_activities', 'release_activity', 'renew_activities', 'delete_instances'
        )
    LOOP
        EXECUTE format('ALTER FUNCTION %s SET plan_cache_mode = force_generic_plan', _verb);
        EXECUTE format('ALTER FUNCTION %s SET enable_seqscan = off', _verb);
        EXECUTE format('ALTER FUNCTION %s SET enable_hashjoin = off', _verb);
        EXECUTE format('ALTER FUNCTION %s SET enable_mergejoin = off', _verb);
    END LOOP;
END
$$;
