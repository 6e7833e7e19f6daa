-- The verbs of administration: delete, prune, list, count.
--
-- Laws: what is deleted goes with all its descendants in one transaction, or nothing goes; rows of instances are locked
-- in the order of their ids, then items in the order of their keys; the current execution is never pruned. Lists and
-- numbers look at many instances: none of the other verbs waits for them.

-- Those that are there, in the executions that are named, and all their descendants, locked. Who commits a turn of one of them is waited for: it may have
-- started a child, which is then found, too; who comes later finds its instance gone. A lock that holds off commits and
-- nothing else comes first: a commit of a parent may wait to write to its child. Deletions come one after the other:
-- what is found late is locked out of order.
CREATE FUNCTION lock_family(_instances text[], _executions jsonb) RETURNS text[] LANGUAGE plpgsql
SET search_path FROM CURRENT AS $$
DECLARE
    _family text[];
    _locked text[] := '{}';
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('trioflow/delete/' || current_schema(), 0));
    LOOP
        WITH RECURSIVE family (instance) AS (
            SELECT i.instance FROM instance i
            WHERE i.instance = ANY (_instances)
                AND i.execution = coalesce((_executions ->> i.instance)::bigint, i.execution)
            UNION
            SELECT c.instance FROM family f JOIN instance c ON c.parent_id = f.instance
        )
        SELECT coalesce(array_agg(f.instance), '{}') INTO _family FROM family f;
        EXIT WHEN NOT EXISTS (SELECT unnest(_family) EXCEPT SELECT unnest(_locked));
        _locked := ARRAY(
            SELECT i.instance FROM instance i WHERE i.instance = ANY (_family) ORDER BY i.instance FOR NO KEY UPDATE
        );
    END LOOP;
    PERFORM FROM instance i WHERE i.instance = ANY (_family) ORDER BY i.instance FOR UPDATE;
    RETURN _family;
END
$$;

-- Remove instances that are locked and all that belongs to them; their last execution numbers are kept. The tokens of
-- items that somebody holds.
CREATE FUNCTION remove_instances(_family text[]) RETURNS text[] LANGUAGE plpgsql
SET search_path FROM CURRENT AS $$
DECLARE
    _tokens text[];
BEGIN
    -- Not WHERE: it would choose before it waits for those who take an item at this moment.
    SELECT array_agg(h.lock_token) FILTER (WHERE h.lock_token IS NOT NULL) INTO _tokens FROM (
        SELECT a.lock_token FROM activity a WHERE a.instance = ANY (_family)
        ORDER BY a.instance, a.execution, a.event_id
        FOR UPDATE
    ) h;
    DELETE FROM activity a WHERE a.instance = ANY (_family);
    DELETE FROM message m WHERE m.instance = ANY (_family);
    DELETE FROM kv WHERE kv.instance = ANY (_family);
    DELETE FROM event e WHERE e.instance = ANY (_family);
    INSERT INTO tombstone (instance, execution)
    SELECT i.instance, i.execution FROM instance i WHERE i.instance = ANY (_family)
    ON CONFLICT (instance) DO UPDATE SET execution = excluded.execution;
    DELETE FROM instance i WHERE i.instance = ANY (_family);
    RETURN _tokens;
END
$$;

-- Verdicts: deleted, again, duplicate (`state` is then the verb and `other` the instance of that request), unfinished
-- (`other` is in that state).
CREATE FUNCTION delete_instances(
    _doc jsonb, _data bytea[], _payloads bytea[],
    OUT verdict text, OUT state text, OUT other text, OUT removed bigint, OUT gone text[], OUT tokens text[],
    OUT reached text[]
) LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
    _now float8 := clock();
    _first text := _doc ->> 'first';
    _answer request := recall(_doc ->> 'request_id', 'delete', _first, _now);
BEGIN
    IF _answer.request_id IS NOT NULL THEN
        verdict := CASE WHEN (_answer.verb, _answer.instance) <> ('delete', _first) THEN 'duplicate' ELSE 'again' END;
        state := _answer.verb;
        other := _answer.instance;
        removed := _answer.execution;
        RETURN;
    END IF;
    gone := lock_family(ARRAY(SELECT jsonb_array_elements_text(_doc -> 'instances')), _doc -> 'executions');
    IF NOT (_doc ->> 'force')::boolean THEN
        SELECT i.instance, i.state INTO other, state FROM instance i
        WHERE i.instance = ANY (gone) AND NOT ended(i.state)
        ORDER BY i.instance LIMIT 1;
        IF FOUND THEN
            verdict := 'unfinished';
            gone := NULL;
            DELETE FROM request r WHERE r.request_id = _doc ->> 'request_id';
            RETURN;
        END IF;
    END IF;
    tokens := remove_instances(gone);
    reached := deliver(ARRAY(SELECT l.letter FROM letters_of(_doc, _data, _payloads) l ORDER BY l.n), _now);
    verdict := 'deleted';
    removed := cardinality(gone);
    UPDATE request r SET execution = removed WHERE r.request_id = _doc ->> 'request_id';
END
$$;

-- Remove histories of earlier executions, for one caller after the other and not while the instance is deleted. A
-- request without an id is not remembered. Verdicts: pruned, again, duplicate (as for a deletion).
CREATE FUNCTION prune_executions(
    _request_id text, _instance text, _keep bigint, _ended_before float8,
    OUT verdict text, OUT state text, OUT other text, OUT removed bigint
) LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
    _answer request;
    _below bigint;
    _old bigint[];
BEGIN
    IF _request_id IS NOT NULL THEN
        _answer := recall(_request_id, 'prune', _instance, clock());
    END IF;
    IF _answer.request_id IS NOT NULL THEN
        verdict := CASE WHEN (_answer.verb, _answer.instance) <> ('prune', _instance) THEN 'duplicate' ELSE 'again' END;
        state := _answer.verb;
        other := _answer.instance;
        removed := _answer.execution;
        RETURN;
    END IF;
    PERFORM pg_advisory_xact_lock(hashtextextended('trioflow/prune/' || _instance, 0));
    SELECT i.execution - greatest(_keep, 1) + 1 INTO _below FROM instance i WHERE i.instance = _instance FOR KEY SHARE;
    _old := ARRAY(
        SELECT k.execution FROM (
            SELECT e.execution, max(e.id) AS id FROM event e
            WHERE e.instance = _instance AND e.execution < _below
            GROUP BY e.execution
        ) k
        JOIN event e ON e.instance = _instance AND e.execution = k.execution AND e.id = k.id
        WHERE _ended_before IS NULL OR e.at < _ended_before
    );
    DELETE FROM event e WHERE e.instance = _instance AND e.execution = ANY (_old);
    verdict := 'pruned';
    removed := cardinality(_old);
    UPDATE request r SET execution = removed WHERE r.request_id = _request_id;
END
$$;

-- Instances that a query means, newest first. What is asked for alone is put into the text, so that each query has a
-- plan of its own.
CREATE FUNCTION list_instances(_doc jsonb) RETURNS SETOF instance_record LANGUAGE plpgsql STABLE
SET search_path FROM CURRENT AS $$
DECLARE
    _conditions CONSTANT jsonb := $conditions${
        "states": "i.state = ANY (ARRAY(SELECT jsonb_array_elements_text($1 -> 'states')))",
        "name": "i.name = $1 ->> 'name'",
        "version": "i.version = $1 ->> 'version'",
        "prefix": "starts_with(i.instance, $1 ->> 'prefix')",
        "parent": "i.parent_id = $1 ->> 'parent'",
        "roots": "i.parent IS NULL",
        "attributes": "i.attributes @> ($1 -> 'attributes')",
        "created_after": "i.created_at >= ($1 ->> 'created_after')::float8",
        "created_before": "i.created_at < ($1 ->> 'created_before')::float8",
        "updated_after": "i.updated_at >= ($1 ->> 'updated_after')::float8",
        "updated_before": "i.updated_at < ($1 ->> 'updated_before')::float8",
        "ended_after": "i.ended_at >= ($1 ->> 'ended_after')::float8",
        "ended_before": "i.ended_at < ($1 ->> 'ended_before')::float8",
        "after_at": "(i.created_at, i.instance) < (($1 ->> 'after_at')::float8, $1 ->> 'after_instance')"
    }$conditions$;
    _where text;
BEGIN
    SELECT coalesce(string_agg(c.value, ' AND '), 'true') INTO _where
    FROM jsonb_each_text(_conditions) c WHERE _doc ? c.key;
    RETURN QUERY EXECUTE
        'SELECT r.* FROM (SELECT i.instance, i.created_at FROM instance i WHERE ' || _where
        || ' ORDER BY i.created_at DESC, i.instance DESC LIMIT ($1 ->> ''limit'')::bigint) p'
        || ' CROSS JOIN LATERAL read_instance(p.instance) r ORDER BY p.created_at DESC, p.instance DESC'
    USING _doc;
END
$$;

-- Executions whose histories are kept, and the current one, in short.
CREATE FUNCTION read_executions(_instance text, _after bigint, _limit bigint) RETURNS TABLE (
    execution bigint, history_length bigint, history_bytes bigint,
    first_id bigint, first_at float8, first_kind text, first_data bytea,
    last_id bigint, last_at float8, last_kind text, last_data bytea
) LANGUAGE sql STABLE SET search_path FROM CURRENT AS $$
    SELECT k.execution, k.length, k.bytes, f.id, f.at, f.kind, f.data, l.id, l.at, l.kind, l.data
    FROM (
        (
            SELECT e.execution, count(*) AS length, min(e.id) AS first, max(e.id) AS last,
                   sum(octet_length(e.data) + coalesce(octet_length(e.payload), 0))::bigint AS bytes
            FROM event e WHERE e.instance = _instance AND e.execution > _after
            GROUP BY e.execution ORDER BY e.execution LIMIT _limit
        )
        UNION ALL
        SELECT i.execution, 0, NULL, NULL, 0 FROM instance i
        WHERE i.instance = _instance AND i.execution > _after AND i.history_length = 0
        ORDER BY 1 LIMIT _limit
    ) k
    LEFT JOIN event f ON f.instance = _instance AND f.execution = k.execution AND f.id = k.first
    LEFT JOIN event l ON l.instance = _instance AND l.execution = k.execution AND l.id = k.last
    ORDER BY k.execution
$$;

-- What waits for runtimes: turns, activities, and those with each tag. What was posted to an instance and was not taken
-- over yet counts as if it had been.
CREATE FUNCTION read_depths() RETURNS TABLE (
    queue text, tag text, ready bigint, leased bigint, later bigint, oldest float8
) LANGUAGE plpgsql STABLE SET search_path FROM CURRENT AS $$
DECLARE
    _now float8 := clock();
BEGIN
    RETURN QUERY
    WITH waiting (queue, tag, due_at, held) AS (
        SELECT 'turns', NULL, i.due_at, i.lock_token IS NOT NULL FROM instance i
        WHERE i.due_at IS NOT NULL AND NOT EXISTS (SELECT FROM ready r WHERE r.instance = i.instance)
        UNION ALL
        SELECT 'turns', NULL, due_of(i, _now), i.lock_token IS NOT NULL FROM instance i
        WHERE i.instance IN (SELECT r.instance FROM ready r)
        UNION ALL
        SELECT 'activities', a.tag, a.due_at, a.lock_token IS NOT NULL FROM activity a WHERE NOT a.cancelled
    )
    SELECT w.queue, w.tag, count(*) FILTER (WHERE w.due_at <= _now),
           count(*) FILTER (WHERE w.due_at > _now AND w.held), count(*) FILTER (WHERE w.due_at > _now AND NOT w.held),
           _now - min(w.due_at) FILTER (WHERE w.due_at <= _now)
    FROM waiting w
    GROUP BY GROUPING SETS ((w.queue), (w.queue, w.tag))
    HAVING GROUPING(w.tag) = 1 OR w.tag IS NOT NULL;
END
$$;

-- What is there, counted.
CREATE FUNCTION read_metrics(
    OUT names text[], OUT states text[], OUT counts bigint[],
    OUT executions bigint, OUT events bigint, OUT messages bigint, OUT activities bigint, OUT sessions bigint
) LANGUAGE sql STABLE SET search_path FROM CURRENT AS $$
    SELECT k.names, k.states, k.counts,
        (SELECT count(*) FROM (SELECT DISTINCT e.instance, e.execution FROM event e) e),
        (SELECT count(*) FROM event),
        (SELECT count(*) FROM message m JOIN instance i ON i.instance = m.instance
         WHERE NOT ended(i.state) AND (m.execution IS NULL OR m.execution = i.execution)),
        (SELECT count(*) FROM activity),
        (SELECT count(*) FROM session)
    FROM (
        SELECT array_agg(n.name ORDER BY n.name, n.state) AS names,
               array_agg(n.state ORDER BY n.name, n.state) AS states,
               array_agg(n.count ORDER BY n.name, n.state) AS counts
        FROM (SELECT i.name, i.state, count(*) FROM instance i GROUP BY i.name, i.state) n
    ) k
$$;
