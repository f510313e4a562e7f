// Command pulumi-resource-minio is the Pulumi plugin for the buckets of an S3 server.
//
// It is built where the published plugin cannot be reached. gen/ is made by ./generate and committed.
package main

import (
	_ "embed"

	"github.com/pulumi/pulumi-terraform-bridge/v3/pkg/tfbridge"

	"bastide.invalid/pulumi-resource-minio/provider"
)

//go:embed gen/schema.json
var schema []byte

//go:embed gen/bridge-metadata.json
var metadata []byte

func main() {
	tfbridge.Main(provider.Name, provider.Version, provider.Info(metadata), schema)
}
