"""Every query of the SQLite store. All of them see one owner's rows only, but for `UNFINISHED_RUNS`."""

from __future__ import annotations

# One run, deleted or not, with what decides whether it may be read, continued or deleted.
FIND_RUN = """
SELECT parent, status, deleted_at_s
FROM runs
WHERE owner = :owner AND run = :run
"""

# A run that has just begun; arrives last.
INSERT_RUN = """
INSERT INTO runs (owner, run, parent, status, created_at_s)
VALUES (:owner, :run, :parent, 'in_progress', :created_at_s)
"""

# A run has ended; its status is final.
FINISH_RUN = """
UPDATE runs SET status = :status, finished_at_s = :finished_at_s
WHERE owner = :owner AND run = :run
"""

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
SELECT owner, run
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
