-- What the verbs have in common: the time, whether an instance has something to do, and how a message is delivered.
--
-- Laws of all functions: a verb is one call, in a transaction of its own or with others that lock other rows; rows are
-- locked in one statement and looked at in the next, so that what is seen is never older than the lock; nothing waits
-- for a row of another instance.

-- The store's time. Tests set it for their session.
CREATE FUNCTION clock() RETURNS float8 LANGUAGE sql VOLATILE AS $$
    SELECT coalesce(nullif(current_setting('trioflow.now', true), '')::float8,
                    extract(epoch FROM clock_timestamp())::float8)
$$;

CREATE FUNCTION ended(_state text) RETURNS boolean LANGUAGE sql IMMUTABLE AS $$
    SELECT _state IN ('completed', 'failed', 'cancelled', 'terminated')
$$;

-- Since when something waits in an inbox that whoever comes first carries out: control messages, and a cancellation while
-- the start waits there, too, and there is no code to hear of it.
CREATE FUNCTION control_at(_instance text, _execution bigint) RETURNS float8 LANGUAGE sql STABLE
SET search_path FROM CURRENT AS $$
    SELECT min(m.at) FROM message m
    WHERE m.instance = _instance AND (m.execution IS NULL OR m.execution = _execution)
        AND (m.control OR m.kind = 'CancelRequested' AND EXISTS (
            SELECT FROM message s WHERE s.instance = _instance AND s.seq < 0 AND s.kind = 'OrchestrationStarted'
        ))
$$;

-- When the instance is eligible to be locked, by what is known now; null: never. See `due_at_of` of the other stores.
CREATE FUNCTION due_of(_i instance, _now float8) RETURNS float8 LANGUAGE plpgsql STABLE
SET search_path FROM CURRENT AS $$
DECLARE
    _first_at float8;
    _control_at float8;
    _work float8;
    _held boolean := _i.state IN ('suspended', 'parked');
    _delayed boolean := _i.state = 'pending' AND _i.wake_at IS NOT NULL;
BEGIN
    IF ended(_i.state) THEN
        RETURN NULL;
    END IF;
    IF _held OR _delayed THEN
        _control_at := control_at(_i.instance, _i.execution);
        IF _control_at > _now THEN
            _control_at := _now;
        END IF;
        _work := CASE WHEN _held THEN _control_at ELSE least(_i.wake_at, _control_at) END;
    ELSE
        SELECT m.at INTO _first_at FROM message m
        WHERE m.instance = _i.instance AND (m.execution IS NULL OR m.execution = _i.execution)
        ORDER BY m.seq LIMIT 1;
        IF FOUND THEN
            _work := least(_first_at, _now, _i.wake_at);
        ELSE
            _work := _i.wake_at;
        END IF;
    END IF;
    IF _work IS NULL THEN
        RETURN NULL;
    END IF;
    _work := greatest(_work, _i.not_before, least(_i.updated_at, _now));
    RETURN CASE WHEN _i.lock_token IS NULL THEN _work ELSE greatest(_work, _i.lock_until) END;
END
$$;

CREATE TYPE letter AS (
    instance        text,
    execution       bigint,  -- only for that execution; null: for whichever is current
    child_of        text,  -- only for the child of that parent
    control         boolean,
    mailbox         boolean,
    kind            text,
    data            bytea,
    payload         bytea
);

-- Post messages in their order; drop each whose target is unknown, has ended, or is not the one that is meant. The
-- instances that were reached. Two instances that write to each other never wait for each other: what is meant for the
-- child of a parent holds off the replacement of that child, which would get it otherwise, and nothing else.
CREATE FUNCTION deliver(_letters letter[], _now float8) RETURNS text[] LANGUAGE plpgsql
SET search_path FROM CURRENT AS $$
DECLARE
    _reached text[];
BEGIN
    IF coalesce(cardinality(_letters), 0) = 0 THEN
        RETURN '{}';
    END IF;
    PERFORM FROM instance i
    WHERE i.instance = ANY (ARRAY(SELECT l.instance FROM unnest(_letters) l WHERE l.child_of IS NOT NULL))
    ORDER BY i.instance
    FOR KEY SHARE;
    WITH posted AS (
        INSERT INTO message (instance, at, execution, control, mailbox, kind, data, payload)
        SELECT l.instance, _now, l.execution, l.control, l.mailbox, l.kind, l.data, l.payload
        FROM unnest(_letters) WITH ORDINALITY
            AS l (instance, execution, child_of, control, mailbox, kind, data, payload, n)
        JOIN instance i ON i.instance = l.instance
        WHERE NOT ended(i.state)
            AND (l.execution IS NULL OR l.execution = i.execution)
            AND (l.child_of IS NULL OR l.child_of = i.parent)
        ORDER BY l.n
        RETURNING instance
    ), told AS (
        INSERT INTO ready (instance) SELECT DISTINCT p.instance FROM posted p RETURNING instance
    )
    SELECT array_agg(t.instance) INTO _reached FROM told t;
    RETURN coalesce(_reached, '{}');
END
$$;

-- The one event that a store has to word itself: nobody else is there to say that an item is gone.
CREATE FUNCTION activity_cancelled(_instance text, _execution bigint, _event_id bigint, _how text) RETURNS letter
LANGUAGE sql IMMUTABLE AS $$
    SELECT ROW(_instance, _execution, NULL, false, false, 'ActivityCancelled',
               CASE _how WHEN 'ended' THEN format('{"answers":%s}', _event_id)::bytea  -- the codec leaves defaults out
               ELSE format('{"answers":%s,"how":"%s"}', _event_id, _how)::bytea END, NULL)::letter
$$;

-- Take over into `due_at` what was posted since somebody looked last. Whether anything had to be left for later: its
-- instance is in the middle of a commit, or somebody else is about to take it over and may not be able to run it. What
-- was on its way to an instance while that was deleted goes.
CREATE FUNCTION take_over_ready(_now float8) RETURNS boolean LANGUAGE plpgsql
SET search_path FROM CURRENT AS $$
DECLARE
    _ids bigint[];
    _asked text[];
    _mine text[];
BEGIN
    SELECT array_agg(f.id), array_agg(DISTINCT f.instance) INTO _ids, _asked
    FROM (SELECT r.id, r.instance FROM ready r ORDER BY r.id LIMIT 1000 FOR UPDATE SKIP LOCKED) f;
    IF _ids IS NULL THEN
        RETURN EXISTS (SELECT FROM ready);
    END IF;
    _mine := ARRAY(
        SELECT i.instance FROM instance i WHERE i.instance = ANY (_asked) ORDER BY i.instance
        FOR NO KEY UPDATE SKIP LOCKED
    );
    UPDATE instance i SET due_at = due_of(i, _now) WHERE i.instance = ANY (_mine);
    IF cardinality(_mine) < cardinality(_asked) THEN
        DELETE FROM message m
        WHERE m.instance = ANY (_asked) AND NOT EXISTS (SELECT FROM instance i WHERE i.instance = m.instance);
    END IF;
    DELETE FROM ready r
    WHERE r.id = ANY (_ids)
        AND (r.instance = ANY (_mine) OR NOT EXISTS (SELECT FROM instance i WHERE i.instance = r.instance));
    RETURN EXISTS (SELECT FROM ready);
END
$$;

CREATE TYPE inbox AS (seqs bigint[], ats float8[], kinds text[], data bytea[], payloads bytea[]);

-- All messages of an inbox that are for this execution, by seq.
CREATE FUNCTION read_inbox(_instance text, _execution bigint) RETURNS inbox LANGUAGE sql STABLE
SET search_path FROM CURRENT AS $$
    SELECT ROW(array_agg(m.seq), array_agg(m.at), array_agg(m.kind), array_agg(m.data), array_agg(m.payload))::inbox
    FROM (
        SELECT * FROM message m
        WHERE m.instance = _instance AND (m.execution IS NULL OR m.execution = _execution)
        ORDER BY m.seq
    ) m
$$;

-- An instance whose lock was taken, as its holder gets to see it.
CREATE TYPE locked_turn AS (
    instance        text,
    execution       bigint,
    token           text,
    name            text,
    version         text,
    state           text,
    revision        bigint,
    history_length  bigint,
    history_bytes   bigint,
    attempts        integer,
    wake_at         float8,
    messages        inbox
);
