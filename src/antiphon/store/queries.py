"""Every query of the SQLite store. All of them see one owner's rows only, but for `UNFINISHED_RUNS`."""

from __future__ import annotations

# One run, deleted or not, with what decides whether it may be read, continued or deleted.
FIND_RUN = """
SELECT parent, status, deleted_at_s, api
FROM runs
WHERE owner = :owner AND run = :run
"""

# A run that has just begun; arrives last.
INSERT_RUN = """
INSERT INTO runs (owner, run, parent, status, created_at_s, api, model, metadata)
VALUES (:owner, :run, :parent, 'in_progress', :created_at_s, :api, :model, :metadata)
"""

# A run has ended; its status is final.
FINISH_RUN = """
UPDATE runs SET status = :status, finished_at_s = :finished_at_s
WHERE owner = :owner AND run = :run
"""

# What the client has written on a run.
METADATA = """
SELECT metadata
FROM runs
WHERE owner = :owner AND run = :run
"""

# The client writes something else on it.
SET_METADATA = """
UPDATE runs SET metadata = :metadata
WHERE owner = :owner AND run = :run
"""

# Chat completions that came to an end, and are not deleted: those beyond the run :after, of the model :model, with all
# of the metadata :metadata. What is null does not count.
_CHATS = """
SELECT run, metadata
FROM runs
WHERE owner = :owner AND api = 'chat' AND deleted_at_s IS NULL AND status IN ('completed', 'incomplete')
    AND (:after IS NULL OR number {beyond} (SELECT number FROM runs WHERE owner = :owner AND run = :after))
    AND (:model IS NULL OR model = :model)
    AND NOT EXISTS (
        SELECT 1 FROM json_each(:metadata) AS wanted
        WHERE NOT EXISTS (
            SELECT 1 FROM json_each(runs.metadata) AS had WHERE had.key = wanted.key AND had.value = wanted.value
        )
    )
ORDER BY number {order}
LIMIT :limit
"""
CHATS_OLDEST_FIRST = _CHATS.format(beyond=">", order="ASC")
CHATS_NEWEST_FIRST = _CHATS.format(beyond="<", order="DESC")

# Nobody may see the run again; its items may still be part of another's history.
MARK_RUN_DELETED = """
UPDATE runs SET deleted_at_s = :deleted_at_s
WHERE owner = :owner AND run = :run
"""

# Whether any run, deleted or not, was continued from this one.
HAS_CHILDREN = """
SELECT EXISTS (SELECT 1 FROM runs WHERE owner = :owner AND parent = :run)
"""

# A run with all that belongs to it: items and segments go by cascade.
DELETE_RUN = """
DELETE FROM runs
WHERE owner = :owner AND run = :run
"""

# What a restart has to settle. Of all owners, oldest first.
UNFINISHED_RUNS = """
SELECT owner, run, api
FROM runs
WHERE status = 'in_progress'
ORDER BY number
"""

# One item of a run's input or output.
INSERT_ITEM = """
INSERT INTO items (owner, run, direction, position, item_id, type, data)
VALUES (:owner, :run, :direction, :position, :item_id, :type, :data)
"""

# The items of a run and of all its ancestors, deleted ones included: root first, a run's input before its output
# ('input' sorts before 'output'). CROSS JOIN keeps SQLite from walking all items of the owner.
HISTORY = """
WITH RECURSIVE chain (run, parent, status, distance) AS (
    SELECT run, parent, status, 0
    FROM runs
    WHERE owner = :owner AND run = :run
    UNION ALL
    SELECT runs.run, runs.parent, runs.status, chain.distance + 1
    FROM chain CROSS JOIN runs ON runs.owner = :owner AND runs.run = chain.parent
)
SELECT chain.status, items.direction, items.type, items.data
FROM chain CROSS JOIN items ON items.owner = :owner AND items.run = chain.run
ORDER BY chain.distance DESC, items.direction, items.position
"""

# The next segment of a run: it begins after the last one, or at 0.
APPEND_SEGMENT = """
INSERT INTO segments (owner, run, first_seq, last_seq, blob)
SELECT :owner, :run, coalesce(max(last_seq) + 1, 0), coalesce(max(last_seq) + 1, 0) + :count - 1, :blob
FROM segments
WHERE owner = :owner AND run = :run
"""

# The journal of a run, in order.
SEGMENTS = """
SELECT last_seq, blob
FROM segments
WHERE owner = :owner AND run = :run
ORDER BY first_seq
"""

# All segments of a run: it is deleted, or they are being merged.
DELETE_SEGMENTS = """
DELETE FROM segments
WHERE owner = :owner AND run = :run
"""
