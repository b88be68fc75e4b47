{{/*
The name of every object. With an alias .Chart.Name is the alias, so two instances never collide.
*/}}
{{- define "cache.fullname" -}}
{{- .Values.fullnameOverride | default (printf "%s-%s" .Release.Name .Chart.Name) | trunc 63 | trimSuffix "-" -}}
{{- end }}

{{/*
What a selector may hold: it never changes during the life of a release.
*/}}
{{- define "cache.selectorLabels" -}}
app.kubernetes.io/name: {{ .Chart.Name | trunc 63 | trimSuffix "-" }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{/*
Labels of pods: no version, so that a new chart version alone restarts nothing.
*/}}
{{- define "cache.podLabels" -}}
{{ include "cache.selectorLabels" . }}
app.kubernetes.io/component: cache
app.kubernetes.io/part-of: storefront
{{- with .Values.podLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/*
Labels of all objects. "+" of a version (Flux appends one) is no label character.
*/}}
{{- define "cache.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{ include "cache.selectorLabels" . }}
app.kubernetes.io/component: cache
app.kubernetes.io/part-of: storefront
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{- define "cache.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- .Values.serviceAccount.name | default (include "cache.fullname" .) -}}
{{- else -}}
{{- .Values.serviceAccount.name | default "default" -}}
{{- end -}}
{{- end }}

{{/*
The image: global.imageRegistry (a mirror) replaces the chart's registry, a digest beats a tag.
*/}}
{{- define "cache.image" -}}
{{- $name := printf "%s/%s" (.Values.global.imageRegistry | default .Values.image.registry) .Values.image.repository -}}
{{- if .Values.image.digest -}}
{{- printf "%s@%s" $name .Values.image.digest -}}
{{- else -}}
{{- printf "%s:%s" $name (.Values.image.tag | default .Chart.AppVersion) -}}
{{- end -}}
{{- end }}
