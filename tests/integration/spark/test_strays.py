"""An action that writes files by itself, with real Spark: nothing is published, and nothing stays beside the result."""

from typing import Any

import pytest

from assets.declaration import action
from assets.errors import ActionContractError
from assets.snapshots.verify import verify
from contracts.reasons import ReasonCode
from contracts.reports import Event
from contracts.storage import token_at_key
from resources.lake.s3 import s3_client
from tests.integration.spark_mill import Mill, table_of


def test_an_action_that_writes_beside_its_result_publishes_nothing_and_leaves_nothing_there(mill: Mill) -> None:
    def writes() -> Any:
        frame = mill.spark.range(3).toDF("n")
        frame.write.parquet(mill.lake.spark_url(f"{mill.entity}/v1/made/elsewhere"))
        return frame

    with pytest.raises(ActionContractError):
        mill.run(action(inputs={}, output="made", schema="n bigint")(writes))
    code, told = mill.failure
    assert (code, f"{mill.entity}/v1/made/elsewhere/_SUCCESS" in told) == (ReasonCode.ACTION_CONTRACT, True)
    assert Event.COMMITTING not in mill.control.events
    left = [found.key for found in mill.lake.list(f"{mill.entity}/")]
    assert [key for key in left if not token_at_key(key)] == []
    uploads = s3_client(mill.store, read_seconds=10, tries=1).list_multipart_uploads(Bucket="lake").get("Uploads", [])
    assert [upload["Key"] for upload in uploads if upload["Key"].startswith(mill.entity)] == []
    published = mill.run(table_of(mill, "n bigint", [(1,)]))
    assert verify(mill.lake, published.commit.coordinate).ok
